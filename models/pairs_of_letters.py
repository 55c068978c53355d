"""Words that are no others, though rn looks like m in them, or cl like d: `burn`, `clock`."""

_WORDS = """
acorn acorns adorn arne arnie arno barn barnes barns bern berne berners born borne burn burned burns byrne byrnes cairn
cairns carne cern churn clack clad claim claims clair claire clam clamour clamp clamped clamping clamps clams clan
clancy clang clank clans clap clapper clapping claps clara clare claret clarice clarion clarity clark clarke clarks
clash clashed clashes clashing class classy claus claw claws clay clays clayton clean cleaner cleaners cleans clear
clearer clearest clearing clearly clears cleary cleats cleave cleaver cleft clem clemency clemens clement clements
clench cleo cleric clerics clerk clerks clever click clicked clicker clicking clicks cliff cliffs climber climbers
cline cling clinging clings clingy clinic clinical clinics clink clint clio clip clipped clipper clippers clipping
clippings clips clique cliques clive cloak cloaks clock clocked clocking clocks clog clogged clogging clogs clone
clones clooney close closed closer closes closing closings clot cloth clothe clothes cloths clots clotting cloud clouds
clough clout clove clover cloves clovis clown clowning clowns club clubbing clubs clue clues clump clumps clung clunky
cluster clusters clutch clutches corn corned corner corners cornet corning cornish darn declan dorn earn earns fern
ferns furness furnish garner garnet harness hearn horn horne horned horner horns horny incl jaclyn kearns kern kernel
kernels korn learn learner learners learning learns lerner lorna lorne marnie modern morn morning mornings mrna nairn
porn porno scorn stearns stern sworn tarn tern thorn thorne thorns torn turn turned turns uncle unclean unclear uncles
unicorn unicorns urns varna vern warn warne warns worn yarn yarns
"""
ORDINARY_WORDS = frozenset(_WORDS.split())
