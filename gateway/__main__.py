"""`python -m gateway`: serve HTTP and gRPC with the settings of this environment."""

import sys

from configs.errors import ImageGenXError
from configs.settings import load_settings
from gateway.main import run_gateway

if __name__ == "__main__":
    try:
        run_gateway(load_settings())
    except ImageGenXError as exc:
        sys.exit(f"error: {exc}")
