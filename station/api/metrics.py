"""The station's counters in Prometheus' words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from station.api.services import Services
from station.store.receipts import Owed
from station.store.stats import Histogram


def render(services: Services, oldest_unacked_s: Mapping[str, float], owed: Mapping[str, Owed]) -> bytes:
    """Return the text of ``/metrics`` as things are now."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Now(services, oldest_unacked_s, owed))
    return generate_latest(registry)


class _Now(Collector):
    def __init__(
        self, services: Services, oldest_unacked_s: Mapping[str, float], owed: Mapping[str, Owed]
    ) -> None:
        self._services = services
        self._owed = owed
        self._oldest_unacked_s = oldest_unacked_s

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        yield from self._lane()
        yield from self._journal()
        yield from self._consumers()

    def _lane(self) -> Iterator[Metric]:
        sealed = CounterMetricFamily(
            "carril_inspections_sealed", "Inspections sealed since the start", labels=["lane", "simulated"]
        )
        for simulated, count in self._services.lane.sealed().items():
            sealed.add_metric([self._services.station, str(simulated).lower()], count)
        yield sealed
        devices = GaugeMetricFamily(
            "carril_device_state", "1 for the state of now", labels=["device", "state"]
        )
        for name, state in self._services.lane.health().devices.items():
            devices.add_metric([name, state], 1)
        yield devices
        yield from self._devices()

    def _devices(self) -> Iterator[Metric]:
        bad = CounterMetricFamily(
            "carril_device_bad_frames", "Bytes of a device that were no record", labels=["device", "kind"]
        )
        crashes = CounterMetricFamily("carril_device_crashes", "Bugs of a driver", labels=["device"])
        for name in self._services.lane.health().devices:
            report = self._services.lane.device(name)
            if report is not None:
                crashes.add_metric([name], report.crashes)
                for kind, count in report.bad_frames.items():
                    bad.add_metric([name, kind], count)
        yield from (bad, crashes)

    def _journal(self) -> Iterator[Metric]:
        store = self._services.store
        stats = store.stats
        yield GaugeMetricFamily("carril_store_head_seq", "Last published record", store.published)
        yield GaugeMetricFamily("carril_store_open", "1 while records can be kept", store.state == "open")
        yield GaugeMetricFamily("carril_store_wal_bytes", "Size of the write-ahead log", stats.log_bytes)
        yield GaugeMetricFamily("carril_store_quota_ratio", "Used part of the quota", store.quota_ratio)
        yield GaugeMetricFamily(
            "carril_store_blob_quota_ratio", "Used part of the blobs' quota", store.blob_ratio
        )
        yield GaugeMetricFamily(
            "carril_store_stray_blob_bytes", "Blob files that no record here names", store.stray_bytes
        )
        for name, text, count in (
            ("records", "Records removed to make room", stats.trimmed_records),
            ("blobs", "Blobs removed to make room", stats.trimmed_blobs),
            ("orphans", "Files without a record that went into quarantine", stats.orphans),
        ):
            yield CounterMetricFamily(f"carril_store_trimmed_{name}", text, value=count)
        yield CounterMetricFamily("carril_store_epochs", "New epochs since the start", value=stats.epochs)
        yield CounterMetricFamily("carril_store_reopened", "Poisoned handles replaced", value=stats.reopened)
        yield CounterMetricFamily("carril_store_checkpoints", "Checkpoints", value=stats.checkpoints)
        beyond = "Cursors and acknowledgements past the head: somebody has lost data"
        yield CounterMetricFamily("carril_store_beyond_head", beyond, value=stats.beyond_head)
        unverified = "Blobs that a consumer got with other bytes than their name says"
        yield CounterMetricFamily("carril_store_blobs_unverified", unverified, value=stats.blobs_unverified)
        syncs = CounterMetricFamily("carril_store_fsync", "Syncs by file", labels=["file"])
        for file, count in (
            ("wal", stats.commits),
            ("mark", stats.mark_syncs),
            ("blob", stats.blob_syncs),
        ):
            syncs.add_metric([file], count)
        yield syncs
        seconds = "From BEGIN to the synced mark"
        yield _histogram("carril_store_commit_seconds", seconds, stats.commit_seconds)
        yield _histogram("carril_store_group_records", "Records of one commit", stats.group_records)

    def _consumers(self) -> Iterator[Metric]:
        acked = GaugeMetricFamily("carril_store_acked_seq", "Last acknowledged record", labels=["consumer"])
        age = GaugeMetricFamily(
            "carril_store_oldest_unacked_seconds",
            "Age of the oldest unacknowledged record",
            labels=["consumer"],
        )
        for name, seq in self._services.store.acked.items():
            acked.add_metric([name], seq)
            if name in self._oldest_unacked_s:  # else unknown, which is not 0
                age.add_metric([name], self._oldest_unacked_s[name])
        yield from (acked, age)
        refused = GaugeMetricFamily(
            "carril_store_refused_records", "Records in quarantine, counted up to 10,001", labels=["consumer"]
        )
        missing = GaugeMetricFamily(
            "carril_store_receipts_missing", "Blobs that were not received yet", labels=["consumer"]
        )
        for name, owed in self._owed.items():
            refused.add_metric([name], owed.refused)
            if owed.receipts_missing is not None:
                missing.add_metric([name], owed.receipts_missing)
        yield from (refused, missing)


def _histogram(name: str, text: str, values: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=values.buckets(), sum_value=values.total)
