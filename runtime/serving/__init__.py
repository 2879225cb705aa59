"""The tail as a server: Open Inference Protocol v2 over HTTP and gRPC.

    over_http, over_grpc   bytes -> Request, Answer -> bytes: one file a transport
    protocol               the tensors and the metadata that both speak of
    service                one request: which bundle, seen before?, count, time-out
    pool                   workers in threads, behind a bounded queue
    waiting                which of the frames that wait are taken together
    networks               restore and tail, for several frames and bundles at a time
    any_batch              a graph of one frame as a graph of any number of them
    server                 opens, listens, drains
    verb                   ``python -m runtime serve``

Needs aiohttp, grpcio, protobuf and prometheus-client (``pip install 'ratehold[serve]'``), which are imported
only by the modules that need them.
"""
