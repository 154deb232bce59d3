"""Wire types and encodings shared by the control plane and the device (ADR-0001). No I/O, no clock."""
