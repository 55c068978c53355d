"""The HTTP and gRPC faces of one service over the request queue: no PyTorch, no image work."""
