"""The ledger's tables, as numbered migrations; each runs in one transaction together with its record."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

APPLICATION_ID = 0x66776374  # "fwct": tells a ledger from any other SQLite file
VERSION = 2

migrations = Migrations("fwctl-ledger")


@migrations(name="0001_ledger")
def ledger_tables(db: Database) -> None:
    """Make every table of the first ledger.

    Times are UTC text `YYYY-MM-DDTHH:MM:SSZ`, which sorts and compares as it stands.
    """
    for statement in _TABLES:
        db.conn.execute(statement)
    db.conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.conn.execute("PRAGMA user_version = 1")


@migrations(name="0002_waves")
def wave_tables(db: Database) -> None:
    """Make the tables of waves and quarantine, and remember when a rollout began to go back."""
    for statement in _WAVES:
        db.conn.execute(statement)
    db.conn.execute("PRAGMA user_version = 2")


_WAVES = (
    """CREATE TABLE waves (
        rollout TEXT NOT NULL REFERENCES rollouts (key), mandate TEXT NOT NULL, wave TEXT NOT NULL,
        state TEXT NOT NULL, reason TEXT NOT NULL, opened_at TEXT NOT NULL, soak_since TEXT, judged_at TEXT,
        PRIMARY KEY (rollout, mandate, wave)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE quarantine (
        device TEXT PRIMARY KEY, reason TEXT NOT NULL, rollout TEXT NOT NULL, actor TEXT NOT NULL, since TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # when a device left quarantine last: what it did before counts no more
    # approvals that were taken back: a newer commit does not end the way back of devices that were away
    "CREATE TABLE taken_back (mandate TEXT PRIMARY KEY, rollout TEXT NOT NULL, since TEXT NOT NULL)"
    " STRICT, WITHOUT ROWID",
    "CREATE INDEX devices_mandate ON devices (running_mandate)",
    "CREATE TABLE releases (device TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "ALTER TABLE rollouts ADD COLUMN back_since TEXT",
    "ALTER TABLE devices ADD COLUMN deferred_since TEXT",
)

_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE lease (
        id INTEGER PRIMARY KEY CHECK (id = 1), holder TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
        epoch INTEGER NOT NULL CHECK (epoch >= 0), adopted INTEGER NOT NULL CHECK (adopted IN (0, 1)),
        acquired_at TEXT NOT NULL, renewed_at TEXT NOT NULL, expires_at TEXT NOT NULL
    ) STRICT""",
    "CREATE TRIGGER lease_epoch_rises BEFORE UPDATE OF epoch ON lease WHEN NEW.epoch < OLD.epoch "
    "BEGIN SELECT RAISE(ABORT, 'the epoch never falls'); END",
    "INSERT INTO lease VALUES (1, '', '', 0, 0, 0, '', '', '')",
    """CREATE TABLE devices (
        id TEXT PRIMARY KEY, running_release TEXT NOT NULL, running_image TEXT NOT NULL,
        running_version TEXT NOT NULL, running_mandate TEXT NOT NULL, state TEXT NOT NULL,
        observed_at TEXT, reachable INTEGER NOT NULL CHECK (reachable IN (0, 1)), tried_at TEXT NOT NULL,
        failure_count INTEGER NOT NULL, reason TEXT NOT NULL, next_due TEXT, counter INTEGER NOT NULL,
        unreachable_since TEXT, spent TEXT NOT NULL, doc TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX devices_due ON devices (next_due)",
    """CREATE TABLE rollouts (
        key TEXT PRIMARY KEY, mandate TEXT NOT NULL, commit_id TEXT NOT NULL, state TEXT NOT NULL,
        reason TEXT NOT NULL, rule TEXT NOT NULL, round INTEGER NOT NULL, actor TEXT NOT NULL,
        started_at TEXT, finished_at TEXT, updated_at TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE orders (
        id TEXT PRIMARY KEY, device TEXT NOT NULL, rollout TEXT NOT NULL REFERENCES rollouts (key),
        mandate TEXT NOT NULL, verb TEXT NOT NULL, release TEXT NOT NULL, attempt INTEGER NOT NULL,
        stage INTEGER NOT NULL, wave TEXT NOT NULL, refers_to TEXT NOT NULL, status TEXT NOT NULL,
        class TEXT NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL, body TEXT NOT NULL,
        intended_at TEXT NOT NULL, sent_at TEXT, due_at TEXT, finished_at TEXT
    ) STRICT""",
    "CREATE INDEX orders_mandate ON orders (mandate, device)",
    "CREATE INDEX orders_device ON orders (device)",
    "CREATE INDEX orders_due ON orders (status, due_at)",
    # no reference to orders: after a lost ledger, devices report outcomes of orders that it does not know
    """CREATE TABLE outcomes (
        order_id TEXT NOT NULL, device TEXT NOT NULL, counter INTEGER NOT NULL, mandate TEXT NOT NULL,
        result TEXT NOT NULL, class TEXT NOT NULL, code TEXT NOT NULL, running_image TEXT NOT NULL,
        envelope TEXT NOT NULL, certificate TEXT NOT NULL, received_at TEXT NOT NULL,
        PRIMARY KEY (device, counter, order_id)
    ) STRICT""",
    "CREATE INDEX outcomes_mandate ON outcomes (mandate, device, counter)",
    "CREATE INDEX outcomes_order ON outcomes (order_id)",
    # AUTOINCREMENT remembers the highest number ever given, so that a cut tail shows
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, kind TEXT NOT NULL, rollout TEXT NOT NULL,
        device TEXT NOT NULL, order_id TEXT NOT NULL, reason TEXT NOT NULL, actor TEXT NOT NULL,
        data TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX events_rollout ON events (rollout, seq) WHERE rollout <> ''",
    "CREATE INDEX events_device ON events (device, seq) WHERE device <> ''",
    "CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END",
    "CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END",
)
