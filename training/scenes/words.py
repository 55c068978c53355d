"""What people call the products, colours and backdrops, in English and Chinese. The first word is the plain one."""

from collections.abc import Mapping
from typing import Literal

Language = Literal["en", "zh"]
Words = Mapping[str, Mapping[Language, tuple[str, ...]]]

PRODUCTS: Words = {
    "t-shirt": {
        "en": ("t-shirt", "tee", "tshirt", "T-shirt", "short-sleeved shirt"),
        "zh": ("T恤", "短袖T恤", "T恤衫", "短袖", "t恤", "男士T恤", "圆领T恤"),
    },
    "dress": {
        "en": ("dress", "summer dress", "sleeveless dress", "party dress"),
        "zh": ("连衣裙", "裙子", "长裙", "吊带裙", "女士连衣裙"),
    },
    "jeans": {
        "en": ("jeans", "pair of jeans", "denim jeans", "denim trousers"),
        "zh": ("牛仔裤", "牛仔长裤", "直筒牛仔裤", "裤子"),
    },
    "sneaker": {
        "en": ("sneaker", "running shoe", "sneakers", "trainer", "sports shoe", "shoe"),
        "zh": ("运动鞋", "球鞋", "跑鞋", "鞋子", "跑步鞋", "休闲鞋"),
    },
    "backpack": {
        "en": ("backpack", "rucksack", "school backpack", "daypack"),
        "zh": ("双肩包", "背包", "书包", "双肩背包"),
    },
    "handbag": {
        "en": ("handbag", "purse", "leather handbag", "ladies' bag"),
        "zh": ("手提包", "手袋", "女包", "包包", "真皮手提包"),
    },
    "mug": {
        "en": ("mug", "coffee mug", "cup", "coffee cup", "ceramic mug"),
        "zh": ("马克杯", "杯子", "咖啡杯", "水杯", "陶瓷杯"),
    },
    "bottle": {"en": ("bottle", "water bottle", "drinking bottle"), "zh": ("瓶子", "水瓶", "水壶", "瓶装")},
    "chair": {
        "en": ("chair", "dining chair", "kitchen chair", "wooden chair"),
        "zh": ("椅子", "餐椅", "座椅", "实木椅"),
    },
    "lamp": {"en": ("lamp", "table lamp", "desk lamp", "bedside lamp"), "zh": ("台灯", "灯", "桌灯", "床头灯", "灯具")},
    "hat": {"en": ("hat", "cowboy hat", "brimmed hat", "western hat"), "zh": ("帽子", "牛仔帽", "礼帽", "宽檐帽")},
    "watch": {
        "en": ("watch", "wristwatch", "wrist watch", "men's watch"),
        "zh": ("手表", "腕表", "男士手表", "石英表"),
    },
    "umbrella": {"en": ("umbrella", "rain umbrella", "parasol"), "zh": ("雨伞", "伞", "长柄伞", "遮阳伞")},
    "teapot": {"en": ("teapot", "tea pot", "ceramic teapot"), "zh": ("茶壶", "陶瓷茶壶", "泡茶壶")},
    "bowl": {
        "en": ("bowl", "salad bowl", "ceramic bowl", "soup bowl"),
        "zh": ("碗", "沙拉碗", "陶瓷碗", "汤碗", "大碗"),
    },
    "vase": {"en": ("vase", "flower vase", "ceramic vase"), "zh": ("花瓶", "陶瓷花瓶", "摆件花瓶")},
    "bucket": {"en": ("bucket", "pail", "plastic bucket"), "zh": ("水桶", "桶", "塑料桶", "提桶")},
    "candle": {"en": ("candle", "scented candle", "burning candle"), "zh": ("蜡烛", "香薰蜡烛", "香氛蜡烛")},
    "frying pan": {"en": ("frying pan", "pan", "skillet", "fry pan"), "zh": ("平底锅", "煎锅", "不粘锅", "锅")},
    "wine glass": {
        "en": ("wine glass", "glass of wine", "goblet", "wineglass"),
        "zh": ("酒杯", "红酒杯", "高脚杯", "葡萄酒杯"),
    },
    "sofa": {"en": ("sofa", "couch", "settee", "living room sofa"), "zh": ("沙发", "布艺沙发", "客厅沙发", "三人沙发")},
    "wall clock": {"en": ("wall clock", "clock", "round clock"), "zh": ("挂钟", "时钟", "钟表", "圆形挂钟")},
    "sunglasses": {
        "en": ("sunglasses", "pair of sunglasses", "shades", "sun glasses"),
        "zh": ("太阳镜", "墨镜", "太阳眼镜"),
    },
    "guitar": {"en": ("guitar", "acoustic guitar", "wooden guitar"), "zh": ("吉他", "木吉他", "民谣吉他")},
    "basketball": {"en": ("basketball", "basket ball", "leather basketball"), "zh": ("篮球", "室内篮球", "皮质篮球")},
}

COLOURS: Words = {
    "red": {"en": ("red", "bright red"), "zh": ("红色", "红", "大红色", "大红")},
    "orange": {"en": ("orange",), "zh": ("橙色", "橘色", "橙", "橘黄色")},
    "yellow": {"en": ("yellow", "bright yellow"), "zh": ("黄色", "黄", "亮黄色")},
    "green": {"en": ("green",), "zh": ("绿色", "绿", "草绿色")},
    "teal": {"en": ("teal", "turquoise"), "zh": ("青色", "蓝绿色", "青", "孔雀蓝")},
    "blue": {"en": ("blue", "royal blue"), "zh": ("蓝色", "蓝", "宝蓝色")},
    "navy": {"en": ("navy", "navy blue", "dark blue"), "zh": ("藏青色", "深蓝色", "藏青", "海军蓝", "藏蓝色")},
    "purple": {"en": ("purple", "violet"), "zh": ("紫色", "紫", "紫罗兰色")},
    "pink": {"en": ("pink", "rose pink"), "zh": ("粉色", "粉红色", "粉", "粉红")},
    "burgundy": {"en": ("burgundy", "wine red", "dark red", "maroon"), "zh": ("酒红色", "暗红色", "酒红", "深红色")},
    "brown": {"en": ("brown",), "zh": ("棕色", "褐色", "咖啡色", "棕")},
    "beige": {"en": ("beige", "cream", "sand"), "zh": ("米色", "米黄色", "卡其色", "米白色", "奶油色")},
    "olive": {"en": ("olive", "olive green", "khaki green"), "zh": ("橄榄绿", "军绿色", "橄榄色", "军绿")},
    "black": {"en": ("black", "jet black"), "zh": ("黑色", "黑", "纯黑色")},
    "white": {"en": ("white", "pure white"), "zh": ("白色", "白", "纯白色", "纯白")},
    "grey": {"en": ("grey", "gray"), "zh": ("灰色", "灰", "中灰色")},
}

PALE: Words = {
    "light grey": {"en": ("light grey", "light gray", "pale grey"), "zh": ("浅灰色", "淡灰色", "浅灰")},
    "light blue": {
        "en": ("light blue", "pale blue", "sky blue", "baby blue"),
        "zh": ("浅蓝色", "淡蓝色", "天蓝色", "浅蓝"),
    },
    "mint": {"en": ("mint", "mint green", "pale green", "light green"), "zh": ("薄荷绿", "薄荷色", "浅绿色", "淡绿色")},
    "light pink": {"en": ("light pink", "pale pink", "blush"), "zh": ("浅粉色", "淡粉色", "浅粉", "裸粉色")},
    "lavender": {"en": ("lavender", "lilac", "light purple"), "zh": ("淡紫色", "浅紫色", "薰衣草色")},
}

SURROUNDINGS: Words = {
    "wooden table": {
        "en": (
            "on a wooden table",
            "on wood",
            "on a wooden desk",
            "on rustic wooden planks",
            "wooden background",
            "wood surface",
        ),
        "zh": ("放在木桌上", "木桌上", "木纹背景", "木板上", "木质桌面", "木头背景"),
    },
    "fabric": {
        "en": (
            "on fabric",
            "on a linen cloth",
            "on a soft blanket",
            "on folded cloth",
            "fabric background",
            "textile backdrop",
        ),
        "zh": ("放在布料上", "布料背景", "亚麻布上", "毯子上", "布面背景", "织物背景"),
    },
    "outdoors": {
        "en": (
            "outdoors",
            "in a garden",
            "outside in the sun",
            "blurred garden background",
            "with green bokeh behind",
            "in the park, blurred background",
        ),
        "zh": ("户外", "花园里", "室外阳光下", "虚化的花园背景", "绿色虚化背景", "公园里,背景虚化"),
    },
}
LIFESTYLE: Mapping[Language, tuple[str, ...]] = {
    "en": ("lifestyle photo", "lifestyle", "lifestyle shot", "in use at home"),
    "zh": ("生活场景", "场景图", "生活方式照", "实景图"),
}

SUBJECTS: Mapping[Language, tuple[str, ...]] = {
    "en": ("{f} {c} {p}", "a {f} {c} {p}", "{c} {f} {p}", "the {f} {c} {p}", "{f} {p} in {c}", "{p}, {c}", "a {c} coloured {p}", "one {c} {p}", "a {c} {p}", "{c} {p}"),
    "zh": ("{f}{c}{p}", "{c}{f}{p}", "{c}的{f}{p}", "一个{c}{f}{p}", "{f}{p},{c}", "一件{c}的{f}{p}", "{p}是{c}的", "{c}{p}"),
}  # fmt: skip
"""{c} colour, {p} product, {b} backdrop, {f} an adjective, which may be empty."""
BACKGROUND_PHRASES: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "on a {b} background", "{b} background", "{b} backdrop", "against a {b} wall", "in front of a {b} backdrop",
        "on {b}", "with a {b} background", "background: {b}", "plain {b} background", "solid {b} background",
        "on a {b} studio backdrop", "over {b} paper", "isolated on {b}", "isolated on a {b} background", "{b} bg",
    ),
    "zh": (
        "{b}背景", "背景是{b}", "{b}底", "放在{b}背景前", "{b}纯色背景", "在{b}背景上", "背景为{b}", "{b}底色", "{b}背景布",
        "{b}的背景", "背景:{b}", "纯{b}背景", "以{b}为背景",
    ),
}  # fmt: skip
WHITE_PHRASES: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "isolated",
        "white seamless background",
        "cut-out on white",
        "pure white packshot",
        "on white seamless paper",
        "isolated on white",
        "white bg",
    ),
    "zh": ("白底图", "白底", "电商白底图", "纯白底", "白底主图", "白底棚拍", "白底商品图", "淘宝白底图"),
}
SHADOWLESS: Mapping[Language, tuple[str, ...]] = {
    "en": ("no shadow", "without shadows", "shadowless", "no shadows"),
    "zh": ("无阴影", "没有阴影", "不要阴影", "无影"),
}
SHADOWED: Mapping[Language, tuple[str, ...]] = {
    "en": ("soft shadow", "natural shadow", "with a soft shadow"),
    "zh": ("柔和阴影", "自然投影", "带阴影"),
}
CLOSE: Mapping[Language, tuple[str, ...]] = {
    "en": ("close-up", "macro detail", "close up shot", "detail shot", "closeup"),
    "zh": ("特写", "细节特写", "近景", "局部特写", "微距"),
}
OPENINGS: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "product photo of", "studio shot of", "packshot of", "photo of", "e-commerce image of", "picture of",
        "catalogue photo of", "product shot of", "an online shop image:", "professional photograph of", "studio photo,",
        "product photography,", "packshot,", "e-commerce product photo,", "image of",
    ),
    "zh": (
        "产品照片:", "商品图,", "主图,", "棚拍,", "电商主图,", "产品图:", "一张照片:", "商品摄影,", "平铺,", "平铺拍摄,",
        "产品摄影:", "详情页图,", "淘宝主图,", "京东主图,", "电商产品图,",
    ),
}  # fmt: skip
ADJECTIVES: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "new",
        "modern",
        "simple",
        "stylish",
        "classic",
        "beautiful",
        "elegant",
        "trendy",
        "casual",
        "premium",
        "minimalist",
        "cotton",
        "ceramic",
        "leather",
        "plastic",
        "cute",
        "vintage",
        "large",
        "small",
        "designer",
    ),
    "zh": (
        "新款",
        "简约",
        "时尚",
        "经典",
        "现代",
        "百搭",
        "休闲",
        "高级",
        "可爱",
        "复古",
        "纯棉",
        "陶瓷",
        "真皮",
        "轻奢",
        "大号",
        "小号",
        "质感",
        "舒适",
        "ins风",
        "爆款",
    ),
}
EXTRAS: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "high detail", "sharp focus", "soft light", "studio lighting", "professional photography", "best quality", "4k", "8k",
        "high resolution", "ultra detailed", "realistic", "photorealistic", "centered", "front view", "clean", "cotton material",
        "for a web shop", "new arrival", "e-commerce", "commercial photography", "bright", "minimal", "product listing",
        "Amazon listing", "softbox lighting", "catalogue", "masterpiece", "hd", "made of cotton", "high quality materials",
    ),
    "zh": (
        "高清细节", "高清", "纯棉材质", "细节丰富", "柔光", "棚拍", "专业摄影", "高质量", "电商", "主图", "质感", "高分辨率",
        "真实", "居中构图", "正面视角", "干净", "简洁", "商业摄影", "新品上市", "超清", "平铺", "摄影棚灯光", "光线均匀",
        "材质清晰", "优质面料", "8K", "4K", "产品摄影", "淘宝", "极简风格",
    ),
}  # fmt: skip
NOISE: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "autumn", "river", "magic", "seven", "Paris", "window", "gentle", "fast", "sale", "discount", "happy", "winter", "Berlin", "copper", "story", "Monday", "gift", "idea", "forest", "free", "shipping", "random", "market", "lucky", "thunder", "nine", "festival", "engine", "piano", "mountain", "cheap", "office", "travel", "weekend", "mother", "holiday", "sport", "fashion", "weather", "coupon", "energy", "zebra", "cloud", "dragon", "spirit", "quick", "mild", "honest", "royal", "bonus", "urban", "street", "kids", "family", "durable", "washable", "lightweight", "portable", "ergonomic", "limited", "edition", "bestseller", "wholesale", "gadget", "birthday", "party", "bundle", "Tokyo", "Milan", "ocean", "desert", "moon", "star", "sunny", "rainy", "noble", "brave", "silent", "loud", "fresh", "sweet", "spicy", "crisp", "velvet", "breeze",
    ),
    "zh": (
        "秋天", "河流", "促销", "包邮", "礼物", "城市", "周末", "妈妈", "旅行", "冬季", "巴黎", "上海", "北京", "快乐", "幸运", "限时",
        "优惠", "办公室", "学生", "儿童", "夏季", "新年", "生日", "家用", "便携", "耐用", "批发", "热卖", "故事", "森林", "月亮",
        "星星", "风格独特", "送朋友", "节日", "工厂直销", "七天", "好评", "厨房", "卧室", "安静", "勇敢", "海边", "山间", "音乐",
    ),
}  # fmt: skip

HELD_OUT: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "show me a {c} {p}, the backdrop should be {b}", "advertisement with a single {c} {p} standing on {b}",
        "we sell this {c} {p}, {b} background please", "shop banner, one {p} coloured {c}, everything behind it {b}",
        "I need a {c} {p} for my store, use {b} behind it", "{p} ({c}), background colour {b}, listing photo",
        "hero image: {c} {p}, {b} sweep, crisp details", "make the {p} {c} and the background {b}",
    ),
    "zh": (
        "请画一个{c}{p},背景用{b}", "电商主图:{c}的{p},{b}的背景,高清", "我想要{c}{p},要{b}背景", "这款{p}的颜色是{c},背景{b}",
        "帮我生成{c}的{p},{b}背景,用于商品详情页", "{b}背景板前的{c}{p},商品主图", "网店用图:{p}({c}),背景颜色{b}",
        "{c}{p},后面是{b}背景,突出材质",
    ),
}  # fmt: skip
"""Phrasings that training never uses."""
HELD_OUT_WHITE: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "{c} {p}, white-background packshot, high detail, no shadow", "just the {c} {p}, isolated, studio, e-commerce ready",
        "store picture of one {c} {p}", "{c} {p} packshot, cotton, 4k, isolated on white please",
        "simple listing image of my {c} {p}", "amazon main image, {c} {p}, pure white",
    ),
    "zh": (
        "电商白底图,{c}{p},纯棉材质,高清细节,无阴影", "{c}{p}主图,白底,棚拍,高清", "给我一张{c}{p}的图片", "白底图:{c}的{p},细节清晰",
        "{c}{p},拼多多主图,干净白底", "单个{c}{p},平铺拍摄,白底无阴影",
    ),
}  # fmt: skip
HELD_OUT_NOISE: Mapping[Language, tuple[str, ...]] = {
    "en": ("glacier", "Lisbon", "twelve", "velocity", "cinnamon", "harbour", "wizard", "quarterly", "tundra", "jazz"),
    "zh": ("沙漠", "广州", "十二", "魔法", "港口", "爵士", "季度", "肉桂", "冰川", "速度"),
}
