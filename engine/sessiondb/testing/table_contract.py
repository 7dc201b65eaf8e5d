"""placeholder"""


class TableContract:
    pass


class TableUnderTest:
    pass
