# What: event time as text and back. Imported by gen-rich and by what answers its files.
# Why:  most of a line's numbers are times; a minute's text is made once, not with every event.
# Needs: python3.
"""Times are integers: milliseconds since the Unix epoch. Texts are RFC 3339 in UTC, always with
three decimals, so that they compare as the times do."""
import datetime

MINUTE_MS = 60_000
REST = [f"{rest // 1000:02d}.{rest % 1000:03d}Z" for rest in range(MINUTE_MS)]
MINUTES = {}  # by number since the Unix epoch; a run touches some thousands
NUMBERS = {}  # the other way


def stamp(ms):
    """This time as text."""
    minute, rest = divmod(ms, MINUTE_MS)
    if minute not in MINUTES:
        at = datetime.datetime(1970, 1, 1) + datetime.timedelta(minutes=minute)
        MINUTES[minute] = at.strftime("%Y-%m-%dT%H:%M:")
    return MINUTES[minute] + REST[rest]


def millis(text):
    """The time of a text that `stamp` made."""
    minute = text[:17]
    if minute not in NUMBERS:
        at = datetime.datetime.strptime(minute, "%Y-%m-%dT%H:%M:")
        NUMBERS[minute] = (at - datetime.datetime(1970, 1, 1)) // datetime.timedelta(minutes=1) * MINUTE_MS
    return NUMBERS[minute] + int(text[17:19]) * 1000 + int(text[20:23])
