"""The head as a client: frames from a folder, a video or a camera -> packets -> a tail server.

    source       what is captured
    pipeline     captures and encodes the next frame while others are being sent
    in_flight    how many are on their way at a time
    frame        one frame that is ready to be sent
    buffer       what happens when the link is slower than the source
    link_budget  bytes a packet that the link takes: less a frame instead of fewer frames
    spool        frames on disk until they are answered, for a client that is killed
    sender       one frame, until it is answered: reconnects, backs off, sends it again under the same id
    status       what has become of them, on one line
    connection   one HTTP connection, Open Inference Protocol v2
    verb         ``python -m runtime stream``

Needs nothing that encoding does not need, but OpenCV for videos and cameras.
"""
