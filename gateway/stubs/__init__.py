"""Generated from `gateway/imagegenx.proto`; `python -m gateway.stubs.generate` makes them again."""
