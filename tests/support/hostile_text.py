"""What people write into prompts, names and files to act on those who read it."""

import re

MARKUP = (
    "![p](/graphql?query=mutation{x}) <img src=/graphql?query=tag> [link](javascript:alert(1)) [red] "
    "![q](http://attacker.invalid/p.png) <script>window.owned=1</script>"
)
ACTING = "\x1b[31mred\x1b]8;;http://attacker.invalid\x1b\\\x9b2J\rover\u202e\u2066\u2028\x7f end"
FORGED_LINE = "09:00:00 info gateway: forged"
HOSTILE = f"{MARKUP} {ACTING}\n{FORGED_LINE}"
ACTS = re.compile("(?!\n)[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
"""Characters that act instead of being seen."""
CATALOG = f'id,text,sampler,{MARKUP}\na,,"{HOSTILE}",x\n'
