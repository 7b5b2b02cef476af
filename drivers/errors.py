"""The error tree of every driver.

::

    DriverError
    ├── LinkError            the way to the device is gone        supervisor: back off and reopen
    │   ├── ConnectFailed    it could not be opened
    │   ├── LinkLost         it was open and ended
    │   └── LinkTimeout      a command's deadline passed
    ├── ProtocolError        the device speaks, but not this      count, resynchronise, degrade
    │   └── Unexpected       an answer that fits no question
    ├── DeviceFault          the device says that it is broken    degraded, go on reading
    ├── CommandRefused       the device answered: no              to the caller
    └── ConfigError          the options cannot work              faulted, no retry

The class alone decides the supervisor's policy. Anything else that leaves a driver is a bug.
The message is a sentence for the person who must act: what was read, what was expected, what to do.
"""


class DriverError(Exception):
    """Base of everything that a driver may raise on purpose."""


class LinkError(DriverError):
    """The way to the device is gone."""


class ConnectFailed(LinkError):
    """The link could not be opened."""


class LinkLost(LinkError):
    """The link was open and ended."""


class LinkTimeout(LinkError):
    """No answer before the command's deadline."""


class ProtocolError(DriverError):
    """The device speaks, but not the agreed protocol."""


class Unexpected(ProtocolError):
    """A well-formed answer that fits no question."""


class DeviceFault(DriverError):
    """The device itself reports that it is broken."""


class CommandRefused(DriverError):
    """The device answered the command with a refusal."""


class ConfigError(DriverError):
    """The options cannot work with this device; a retry would not help."""
