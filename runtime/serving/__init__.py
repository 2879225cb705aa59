"""The tail as a server: Open Inference Protocol v2 over HTTP and gRPC.

    server                 opens the service, listens for both, reloads on SIGHUP, drains on SIGTERM
    options                how to serve
    http_front, grpc_front our listeners: one file a transport
    exchange               a request's bytes -> the answer's bytes, for our listeners and those of others
    adapters               KServe and Ray Serve as listeners
    protocol               requests, answers, tensors, metadata and errors that both transports share
    models                 bundles by the names that a request may use
    service                one request: its bundle, repetition, time-out, counts, log
    pool                   worker threads behind a bounded queue; jobs with one batch key share a run
    networks               restore and tail for frames of several bundles in one run
    intake                 what a stranger may take up before: connections, bytes, fields, certificates
    metrics, tracing       Prometheus and OpenTelemetry
    dashboard              what the server's page shows

``runtime.cli.serve`` has the arguments. Serving needs aiohttp, grpcio, protobuf and prometheus-client
(``pip install 'ratehold[serve]'``); only the modules that use them import them.
"""
