"""What a client knows of the tail server.

address  where it is, which TLS it takes, and how to connect
answers  what its answers mean: classes, a refusal, or that the frame must be sent again
"""
