"""The ledger's tables, as numbered migrations; each runs in one transaction together with its record."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from fwctl.state.form import APPLICATION_ID

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


@migrations(name="0003_size")
def size_tables(db: Database) -> None:
    """Take what is long out of the tables that are counted and listed, and remember summaries and a revision."""
    for statement in _SIZE:
        db.conn.execute(statement)
    db.conn.execute("PRAGMA user_version = 3")


@migrations(name="0004_samples")
def sample_tables(db: Database) -> None:
    """Make the table of what devices report, for comparison with a control group."""
    db.conn.execute(_SAMPLES)
    db.conn.execute("PRAGMA user_version = 4")


@migrations(name="0005_keeping")
def keeping_column(db: Database) -> None:
    """Remember of approvals that were taken back whether waves that had passed keep what they brought."""
    db.conn.execute("ALTER TABLE taken_back ADD COLUMN keeps INTEGER NOT NULL DEFAULT 0 CHECK (keeps IN (0, 1))")
    db.conn.execute("PRAGMA user_version = 5")


_SAMPLES = """CREATE TABLE samples (
    mandate TEXT NOT NULL, wave TEXT NOT NULL, phase TEXT NOT NULL, device TEXT NOT NULL, metrics TEXT NOT NULL,
    PRIMARY KEY (mandate, wave, phase, device)
) STRICT, WITHOUT ROWID"""
_DEVICE_COLUMNS = (
    "id, running_release, running_image, running_version, running_mandate, state, observed_at, reachable, tried_at,"
    " failure_count, reason, next_due, counter, unreachable_since, spent, deferred_since"
)
_ORDER_COLUMNS = (
    "id, device, rollout, mandate, verb, release, attempt, stage, wave, refers_to, status, class, code, reason,"
    " intended_at, sent_at, due_at, finished_at"
)
_SIZE = (
    """CREATE TABLE documents (device TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT""",
    "INSERT INTO documents SELECT id, doc FROM devices WHERE observed_at IS NOT NULL ORDER BY id",
    "ALTER TABLE devices RENAME TO devices_2",
    # without a rowid: always read by id or in the order of ids, and rewritten in place
    """CREATE TABLE devices (
        id TEXT PRIMARY KEY, running_release TEXT NOT NULL, running_image TEXT NOT NULL,
        running_version TEXT NOT NULL, running_mandate TEXT NOT NULL, state TEXT NOT NULL,
        observed_at TEXT, reachable INTEGER NOT NULL CHECK (reachable IN (0, 1)), tried_at TEXT NOT NULL,
        failure_count INTEGER NOT NULL, reason TEXT NOT NULL, next_due TEXT, counter INTEGER NOT NULL,
        unreachable_since TEXT, spent TEXT NOT NULL, deferred_since TEXT
    ) STRICT, WITHOUT ROWID""",
    f"INSERT INTO devices ({_DEVICE_COLUMNS}) SELECT {_DEVICE_COLUMNS} FROM devices_2 ORDER BY id",  # noqa: S608
    "DROP TABLE devices_2",
    # each index of `devices` ends with the id, so that a filtered list comes by id and pages without sorting
    "CREATE INDEX devices_mandate ON devices (running_mandate)",
    "CREATE INDEX devices_away ON devices (reachable) WHERE reachable = 0",
    "CREATE INDEX devices_tried ON devices (tried_at) WHERE reachable = 1",
    "ALTER TABLE orders RENAME TO orders_2",
    # a number of its own, because VACUUM may renumber rows that have none, and bodies hang on it
    """CREATE TABLE orders (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, device TEXT NOT NULL,
        rollout TEXT NOT NULL REFERENCES rollouts (key), mandate TEXT NOT NULL, verb TEXT NOT NULL,
        release TEXT NOT NULL, attempt INTEGER NOT NULL, stage INTEGER NOT NULL, wave TEXT NOT NULL,
        refers_to TEXT NOT NULL, status TEXT NOT NULL, class TEXT NOT NULL, code TEXT NOT NULL,
        reason TEXT NOT NULL, intended_at TEXT NOT NULL, sent_at TEXT, due_at TEXT, finished_at TEXT
    ) STRICT""",
    f"INSERT INTO orders (number, {_ORDER_COLUMNS}) SELECT rowid, {_ORDER_COLUMNS} FROM orders_2 ORDER BY rowid",  # noqa: S608
    "CREATE TABLE order_bodies (number INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT",
    "INSERT INTO order_bodies SELECT rowid, body FROM orders_2 ORDER BY rowid",
    "DROP TABLE orders_2",
    "CREATE INDEX orders_mandate ON orders (mandate, device)",
    "CREATE INDEX orders_device ON orders (device)",
    "CREATE INDEX orders_due ON orders (due_at) WHERE status <> 'settled'",
    "DROP INDEX outcomes_order",  # nothing asks by order
    # what a pass made of a rollout, and the revision of the ledger that it was made from
    """CREATE TABLE summaries (
        rollout TEXT PRIMARY KEY, mandate TEXT NOT NULL, commit_id TEXT NOT NULL, at TEXT NOT NULL,
        valid_until TEXT, revision INTEGER NOT NULL, body TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE revision (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL) STRICT",
    "INSERT INTO revision VALUES (1, 1)",
    "CREATE TRIGGER revision_rises BEFORE UPDATE ON revision WHEN NEW.value <= OLD.value "
    "BEGIN SELECT RAISE(ABORT, 'the revision only rises'); END",
    # the last event that was pruned: the chain starts after it, and only events up to it may go
    "CREATE TABLE anchor (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT",
    "INSERT INTO anchor VALUES (1, 0, '')",
    "CREATE TRIGGER anchor_rises BEFORE UPDATE ON anchor WHEN NEW.seq <= OLD.seq "
    "OR NEW.hash IS NOT (SELECT hash FROM events WHERE seq = NEW.seq) "
    "BEGIN SELECT RAISE(ABORT, 'the anchor names an event and only rises'); END",
    "CREATE TRIGGER anchor_stays BEFORE DELETE ON anchor BEGIN SELECT RAISE(ABORT, 'the anchor stays'); END",
    "DROP TRIGGER events_no_delete",
    "CREATE TRIGGER events_no_delete BEFORE DELETE ON events WHEN OLD.seq > (SELECT seq FROM anchor) "
    "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END",
)

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
