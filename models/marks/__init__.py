"""The marks of AI-made pictures: what files say, what is signed, what is drawn, and what is hidden in the pixels."""
