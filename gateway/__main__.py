"""`python -m gateway`: serve HTTP and gRPC with the settings of this environment."""

import sys

from configs.settings import load_settings
from foundation.errors import ImageGenXError
from foundation.process_start import start_process
from gateway.main import run_gateway

if __name__ == "__main__":
    start_process()
    try:
        run_gateway(load_settings())
    except ImageGenXError as exc:
        sys.exit(f"error: {exc}")
