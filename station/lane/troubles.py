"""Troubles of the journal and its readers, as alarms and records of the lane."""

from __future__ import annotations

from drivers.readings import Stamp
from station.domain.store_events import BlobDamaged, ConsumerAhead, RecordsRefused
from station.lane.core import Core
from station.store.troubles import News


def tell_troubles(core: Core, news: News, now: Stamp) -> None:
    """Record what is new. One alarm of a kind stands at a time: who lies again and again fills no journal."""
    core.now = now
    for ahead in news.ahead:
        if core.book.find("consumer_ahead") is None:
            core.emit(ConsumerAhead, consumer=ahead.consumer, seq=ahead.seq, head=ahead.head)
            core.raise_lane_alarm("consumer_ahead", values={"consumer": ahead.consumer})
    for sha256 in news.blobs:
        core.emit(BlobDamaged, sha256=sha256)
        if core.book.find("blob_damaged") is None:
            core.raise_lane_alarm("blob_damaged", values={"blob": sha256[:12]})
    alarm = core.book.find("records_refused")
    if alarm is None and news.refused:
        consumer = min(news.refused)
        core.emit(RecordsRefused, consumer=consumer, refused=news.refused[consumer])
        core.raise_lane_alarm("records_refused", values={"consumer": consumer})
    elif alarm is not None and not news.refused:
        core.end_alarm(alarm.alarm_id)
