"""What a client knows of the tail server.

address  where it is, which TLS it takes
attempts several attempts to connect at a time, the first to succeed is taken
fleet    several servers: which of them is asked next
answers  what its answers mean: classes, a refusal, or that the frame must be sent again
"""
