"""The devices: certificates, the link to one device, and what a device signs."""
