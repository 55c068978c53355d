"""Words, in English and Chinese, for everything the renderer can draw.

The first word of each tuple is the plain one; the others are synonyms the captions also use.
"""

from typing import Final

PRODUCT_WORDS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "t-shirt": {
        "en": ("t-shirt", "tee", "tshirt", "cotton t-shirt", "shirt"),
        "zh": ("T恤", "短袖T恤", "T恤衫", "短袖"),
    },
    "dress": {"en": ("dress", "summer dress", "party dress"), "zh": ("连衣裙", "裙子", "长裙")},
    "jeans": {"en": ("jeans", "pair of jeans", "denim jeans", "trousers"), "zh": ("牛仔裤", "裤子", "长裤")},
    "sneaker": {
        "en": ("sneaker", "running shoe", "sneakers", "trainer", "shoe"),
        "zh": ("运动鞋", "球鞋", "鞋子", "跑鞋"),
    },
    "backpack": {"en": ("backpack", "rucksack", "school backpack"), "zh": ("双肩包", "背包", "书包")},
    "handbag": {"en": ("handbag", "purse", "leather handbag"), "zh": ("手提包", "手袋", "女包")},
    "mug": {"en": ("mug", "coffee mug", "cup", "coffee cup"), "zh": ("马克杯", "杯子", "咖啡杯")},
    "bottle": {"en": ("bottle", "water bottle", "drinking bottle"), "zh": ("瓶子", "水瓶", "水壶瓶")},
    "chair": {"en": ("chair", "dining chair", "kitchen chair"), "zh": ("椅子", "餐椅", "座椅")},
    "lamp": {"en": ("lamp", "table lamp", "desk lamp"), "zh": ("台灯", "灯", "桌灯")},
    "hat": {"en": ("hat", "sun hat", "brimmed hat"), "zh": ("帽子", "礼帽", "遮阳帽")},
    "watch": {"en": ("watch", "wristwatch", "wrist watch"), "zh": ("手表", "腕表")},
    "umbrella": {"en": ("umbrella", "rain umbrella", "parasol"), "zh": ("雨伞", "伞")},
    "teapot": {"en": ("teapot", "tea pot", "ceramic teapot"), "zh": ("茶壶", "陶瓷茶壶")},
}

COLOUR_WORDS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "red": {"en": ("red",), "zh": ("红色", "红")},
    "orange": {"en": ("orange",), "zh": ("橙色", "橘色", "橙")},
    "yellow": {"en": ("yellow",), "zh": ("黄色", "黄")},
    "green": {"en": ("green",), "zh": ("绿色", "绿")},
    "teal": {"en": ("teal",), "zh": ("青色", "蓝绿色", "青")},
    "blue": {"en": ("blue",), "zh": ("蓝色", "蓝")},
    "purple": {"en": ("purple", "violet"), "zh": ("紫色", "紫")},
    "pink": {"en": ("pink",), "zh": ("粉色", "粉红色", "粉")},
    "brown": {"en": ("brown",), "zh": ("棕色", "褐色", "咖啡色")},
    "black": {"en": ("black",), "zh": ("黑色", "黑")},
    "white": {"en": ("white",), "zh": ("白色", "白")},
    "grey": {"en": ("grey", "gray"), "zh": ("灰色", "灰")},
}

BACKGROUND_WORDS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "white": {"en": ("white",), "zh": ("白色", "纯白色")},
    "grey": {"en": ("grey", "gray", "light grey"), "zh": ("灰色", "浅灰色")},
    "beige": {"en": ("beige", "cream"), "zh": ("米色", "米黄色")},
    "light blue": {"en": ("light blue", "pale blue"), "zh": ("浅蓝色", "淡蓝色")},
    "pink": {"en": ("pink", "pale pink"), "zh": ("粉色", "粉红色", "浅粉色")},
    "mint": {"en": ("mint", "mint green"), "zh": ("薄荷绿", "薄荷色", "薄荷绿色")},
}

# {c} colour, {p} product, {b} background, {f} a filler adjective (may be empty). Product words stand first, last and
# in the middle, so that the tokenizer and the text encoder meet them in every position.
TRAINING_TEMPLATES: Final[dict[str, tuple[str, ...]]] = {
    "en": (
        "a {f} {c} {p} on a {b} background",
        "{c} {p} on {b} background",
        "{c} {p}, {b} background",
        "a {c} {p} in front of a {b} backdrop",
        "product photo of a {f} {c} {p} on a {b} background",
        "{b} background, {c} {p}",
        "a {p} in {c} on a {b} background",
        "{p}, {c}, {b} background",
        "studio shot of a {c} {p} against a {b} wall",
        "a picture of a {c} {p} with a {b} background",
        "{f} {p} in {c} colour, {b} backdrop",
        "on a {b} background, a {f} {c} {p}",
        "the {p} is {c} and the background is {b}",
        "one {c} {p} over {b}",
        "{c} {p} {b}",
        "an online shop image: {c} {p}, background {b}",
        "a {c} coloured {p}, {b} background",
        "one {c} colored {p} on {b}",
    ),
    "zh": (
        "{b}背景上的{c}{p}",
        "{c}{p},{b}背景",
        "{c}的{p},{b}背景",
        "一件{c}{p},背景是{b}",
        "一个{c}的{p}放在{b}背景前",
        "{b}背景,{c}{p}",
        "{b}背景的{c}{p}商品图",
        "产品照片:{c}{p},{b}背景",
        "{p},{c},{b}背景",
        "{c}{p}在{b}背景上",
        "{f}{c}{p},{b}背景",
        "一张{c}{p}的照片,背景为{b}",
        "{p}是{c}的,背景是{b}的",
        "{b}底色的{c}{p}",
    ),
}
SHORT_TEMPLATES: Final[dict[str, tuple[str, ...]]] = {
    "en": ("{c} {p}", "a {c} {p}", "{f} {c} {p}", "photo of a {c} {p}", "{p} in {c}", "{p}, {c}"),
    "zh": ("{c}{p}", "{c}的{p}", "一个{c}{p}", "{f}{c}{p}", "{c}{p}照片", "{p},{c}"),
}
# Phrasings that training never sees; the adherence benchmark uses them besides the training ones.
HELD_OUT_TEMPLATES: Final[dict[str, tuple[str, ...]]] = {
    "en": (
        "show me a {c} {p}, the backdrop should be {b}",
        "advertisement with a single {c} {p} standing on {b}",
        "{b} backdrop behind a {c} {p}",
        "we sell this {c} {p}, {b} background please",
        "catalogue picture, {p} coloured {c}, {b} background",
    ),
    "zh": (
        "请画一个{c}{p},背景用{b}",
        "电商主图:{c}的{p},{b}的背景",
        "{b}背景前有一个{c}{p}",
        "我想要{c}{p},要{b}背景",
        "这款{p}的颜色是{c},背景{b}",
    ),
}
FILLERS: Final[dict[str, tuple[str, ...]]] = {
    "en": (
        *("", "", "new", "nice", "simple", "modern", "beautiful", "classic", "elegant", "high quality", "small"),
        "stylish",
    ),
    "zh": ("", "", "新款", "简约", "漂亮的", "时尚", "经典", "高档", "可爱的", "好看的"),
}
SUFFIXES: Final[dict[str, tuple[str, ...]]] = {
    "en": (
        *(", studio lighting", ", product photography", ", high quality", ", 4k", ", soft shadow"),
        ", catalogue photo",
    ),
    "zh": (",高清", ",商品摄影", ",电商图片", ",柔和光线", ",高质量"),
}
EXTRA_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "en": (
        *("low", "quality", "blurry", "ugly", "bad", "dark", "bright", "vintage", "sketch", "pastel", "style"),
        *("minimal", "cozy", "wooden", "glass", "metal", "large", "big", "little", "cheap", "luxury", "sale", "best"),
        *("gift", "for", "women", "men", "kids", "with", "and", "of", "by", "from", "without", "two", "three"),
        *("color", "colour", "colored", "coloured"),
    ),
    "zh": (
        *("模糊", "低质量", "素描", "线稿", "粉彩", "风格", "复古", "木质", "玻璃"),
        *("金属", "女士", "男士", "儿童", "大", "小", "两个", "促销", "礼物"),
    ),
}
