"""The head as a client: frames from a folder, a video or a camera -> packets -> a tail server.

    source       frames of a folder, an image or a video, in order and paced
    video        frames of a recording, or of a camera, an address or a pipeline: opened again when it drops
    pixel_formats  grey, YUV, BGR or JPEG, as OpenCV gives them -> RGB
    pipeline     captures and encodes the next frame while others are in flight
    buffer       packets between encoder and link, and the policy when the link is slower than the source
    window       the in-flight window: how many frames are sent and not yet answered
    link_budget  the byte budget that the link allows: smaller frames instead of fewer frames
    sender       sends a frame until it is answered: reconnects, backs off, repeats it under the same id
    connection   one HTTP connection, Open Inference Protocol v2
    remote       the server's address, and what its answers mean
    spool        encoded frames on disk until they are answered, for a client that is killed
    status       counts of frames by outcome, on one line
    dashboard    what the device's page shows

``runtime.cli.stream`` has the arguments. Videos and cameras need OpenCV; nothing else is needed beyond what
encoding needs.
"""
