"""The lane file: one strict TOML per lane, checked as a whole, with errors for the person who must act."""

from station.lanefile.fit import FOLDER
from station.lanefile.load import LaneFile, load_lane
from station.lanefile.models import (
    Check,
    Consumer,
    Device,
    Document,
    FittedDevice,
    LaneTable,
    Mode,
    Radiation,
    Simulation,
    Ui,
    contact_portals,
    schema_text,
)
from station.lanefile.problems import LaneFileError, Problem, UnknownName, nearest
from station.lanefile.shipped import config_folder, shipped

__all__ = [
    "FOLDER",
    "Check",
    "Consumer",
    "Device",
    "Document",
    "FittedDevice",
    "LaneFile",
    "LaneFileError",
    "LaneTable",
    "Mode",
    "Problem",
    "Radiation",
    "Simulation",
    "Ui",
    "UnknownName",
    "config_folder",
    "contact_portals",
    "load_lane",
    "nearest",
    "schema_text",
    "shipped",
]
