"""The one verifier: used by the device, and imported by the control plane. No files, no network, no clock."""
