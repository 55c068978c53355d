"""Adapters (LoRA, LoCon, LoHa, LoKr, DoRA, full differences) of every published layout, as changes of weights."""
