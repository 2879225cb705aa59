// Runs a graph model on one frame: run_tfjs.js FOLDER SHAPE OUTPUT...
// FOLDER has model.json, model.bin and frame.f32; each OUTPUT is written there as OUTPUT.f32.
const fs = require("fs");
const tf = require("@tensorflow/tfjs");

async function main(folder, shape, ...outputs) {
  const described = JSON.parse(fs.readFileSync(`${folder}/model.json`));
  const bytes = fs.readFileSync(`${folder}/model.bin`);
  const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const weightSpecs = described.weightsManifest.flatMap((group) => group.weights);
  const model = await tf.loadGraphModel({
    load: async () => ({ ...described, weightSpecs, weightData }),
  });
  const raw = fs.readFileSync(`${folder}/frame.f32`);
  const values = new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength));
  const frame = tf.tensor(values, shape.split(",").map(Number));
  const results = model.execute(frame, outputs.map((name) => `${name}:0`));
  [results].flat().forEach((result, number) => {
    fs.writeFileSync(`${folder}/${outputs[number]}.f32`, Buffer.from(result.dataSync().buffer));
  });
}

main(...process.argv.slice(1).filter((word) => word !== "--"));
