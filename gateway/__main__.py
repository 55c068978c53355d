"""`python -m gateway`: serve HTTP and gRPC with the settings of this environment."""

import sys

from configs.errors import ImageGenXError
from configs.process_start import start_process
from configs.settings import load_settings
from gateway.main import run_gateway

if __name__ == "__main__":
    start_process()
    try:
        run_gateway(load_settings())
    except ImageGenXError as exc:
        sys.exit(f"error: {exc}")
