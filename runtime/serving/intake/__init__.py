"""What a stranger may take up before anything is decoded.

connections    accepts HTTP connections, below the limit of descriptors; the longest silent gives way
reception      bytes of requests in reception, in total; the largest gives way
heap           what a crowd has taken goes back to the system
tls            certificates of both listeners, loaded again on SIGHUP
json_request   JSON whose parsing is bounded; data is read in pieces
message_bounds fields and bytes of a protobuf message, counted before it is parsed
"""
