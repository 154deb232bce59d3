"""Who may say so: keys, the TUF repository side, releases, approvals and orders. Verifying is `fwctl_agent.trust`'s."""
