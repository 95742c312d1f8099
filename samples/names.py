"""Invented Chinese names, addresses and identity numbers for Synthea's people. None belongs to a person."""

from __future__ import annotations

from datetime import date

from samples.draw import draw, pick


def _pairs(text: str) -> list[tuple[str, str]]:
    """Characters and their Latin spelling, from `王:Wang 李:Li`."""
    return [(zh, latin) for zh, _, latin in (word.partition(":") for word in text.split())]


_SURNAMES = _pairs("""
    王:Wang 李:Li 张:Zhang 刘:Liu 陈:Chen 杨:Yang 赵:Zhao 黄:Huang 周:Zhou 吴:Wu 徐:Xu 孙:Sun 胡:Hu 朱:Zhu 高:Gao 林:Lin
    何:He 郭:Guo 马:Ma 罗:Luo 梁:Liang 宋:Song 郑:Zheng 谢:Xie 韩:Han 唐:Tang 冯:Feng 于:Yu 董:Dong 萧:Xiao 欧阳:Ouyang
""")
_GIVEN = {
    "F": _pairs("""
        秀英:Xiuying 桂兰:Guilan 淑珍:Shuzhen 丽华:Lihua 静:Jing 敏:Min 婷:Ting 雪梅:Xuemei 玉兰:Yulan 春燕:Chunyan
        思琪:Siqi 雨桐:Yutong 佳怡:Jiayi 慧:Hui 晓彤:Xiaotong 红霞:Hongxia 彩凤:Caifeng 海燕:Haiyan 诗涵:Shihan 梦洁:Mengjie
    """),
    "M": _pairs("""
        建国:Jianguo 志强:Zhiqiang 伟:Wei 军:Jun 磊:Lei 明辉:Minghui 国栋:Guodong 文博:Wenbo 浩然:Haoran 子轩:Zixuan
        俊杰:Junjie 永康:Yongkang 德华:Dehua 振东:Zhendong 立新:Lixin 鹏:Peng 宇航:Yuhang 天佑:Tianyou 家豪:Jiahao 学文:Xuewen
    """),
}
_DISTRICTS = ("滨河区", "云台区", "东湖区", "高新区", "清溪县")
_ROADS = ("春晖路", "解放大道", "文昌街", "梧桐巷", "望江路", "学府路", "青石板街")


def chinese_name(sex: str, *about: object) -> tuple[str, str]:
    """A name in Chinese characters and in Latin letters, fixed by what it is about."""
    surname, given = pick(_SURNAMES, "surname", *about), pick(_GIVEN[sex], "given", *about)
    return surname[0] + given[0], f"{surname[1]} {given[1]}"


def chinese_address(*about: object) -> str:
    """An address in a city that does not exist."""
    street = pick(_DISTRICTS, "district", *about) + pick(_ROADS, "road", *about)
    flat = 101 + draw(20, "floor", *about) * 100 + draw(6, "flat", *about)
    return f"临江市{street}{1 + draw(300, 'house', *about)}号{1 + draw(12, 'block', *about)}幢{flat}室"


def fake_national_id(birth: date, *about: object) -> str:
    """18 characters in the shape of GB 11643, which can be nobody's: no division begins with 999, no check digit is F."""
    return f"999{draw(1000, 'division', *about):03d}{birth:%Y%m%d}{draw(1000, 'sequence', *about):03d}F"
