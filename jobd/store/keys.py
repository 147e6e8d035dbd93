"""Names of all Redis keys.

Sidekiq's keys (with the configured prefix, if any; Ruby and Python share them without one):

=========================  ======  ==========  ==================================================
key                        type    TTL         content, and who writes it
=========================  ======  ==========  ==================================================
queues                     set     -           names of known queues; clients, keeper
queue:NAME                 list    -           payloads, head newest, tail next; clients, keeper
schedule                   zset    -           payloads by time to run (s); clients
retry                      zset    -           payloads by time of next attempt (s); workers
dead                       zset    trimmed     payloads by time of death (s); workers, keeper
paused                     set     -           names of paused queues; jobd.api
processes                  set     -           identities; workers
IDENTITY                   hash    60 s        heartbeat; workers
IDENTITY:work, :workers    hash    60 s        running jobs, for new and old dashboards; workers
IDENTITY-signals           list    60 s        remote signals; dashboards, jobd.api
process_cleanup            string  60 s        lock: prune ``processes`` once a minute; keeper
stat:processed, :failed    string  -           totals; workers, within the final transition
stat:…:YYYY-MM-DD          string  5 years     the same by UTC day
j|YYMMDD|H:MM              hash    8 h         ``NAME|p``, ``|f``, ``|ms``: executions, failures
                                               and time of a minute; workers
j|YYMMDD|H:M               hash    72 h        the same of ten minutes (M is their digit); workers
h|NAME-D-H:M               string  8 h         histogram of the times of a minute: 26 counters of
                                               16 bits; workers
YYYYMMDD-marks             hash    90 days     deploys: time (ISO 8601) to label; jobd.api
deploylock-LABEL           string  60 s        lock: note a deploy once; jobd.api
dear-leader                string  -           identity of the leader; Sidekiq Enterprise
super_processes            set     -           identities of processes with super_fetch; Sidekiq Pro
IDENTITY:super_queues      set     -           names of the lists of its jobs; Sidekiq Pro
queue:sq|IDENTITY|QUEUE    list    -           jobs that it has taken and not ended; Sidekiq Pro
it-JID                     hash    30 days     state of an iterable job; Sidekiq
=========================  ======  ==========  ==================================================

jobd's own:

=========================  ======  ==========  ==================================================
jobd:owners                zset    -           identity by end of its lease (s of jobd:clock); 0 or
                                               less: condemned, being recovered. Workers add it,
                                               keepers renew and remove it
jobd:clock                 hash    -           the clock of the leases: reachable (s), and the
                                               server's time when that was written: seen (s);
                                               workers, keepers
jobd:inflight:IDENTITY     hash    -           tag (``sequence:queue``) to the payload's original
                                               bytes; workers, keepers
jobd:cancels:IDENTITY      hash    -           tag to the time of the request (s), of its jobs in
                                               flight that are to be cancelled, as long as they are
                                               in flight; jobd.api
jobd:waits:IDENTITY        set     -           queues that this owner waits on, so that a keeper
                                               can find its claim lists; workers
jobd:claim:IDENTITY:QUEUE  list    -           jobs that a blocking claim delivered, not yet moved
                                               to in flight; workers
jobd:lock:KEY              hash    as told     which job holds the lock of a unique job: jid;
                                               at, seen (s): taken, last moved; set, score: where
                                               it waits; stays: it outlives the job, until its
                                               TTL; first: of a debounce; again…: the job to
                                               push when it has ended; ends: its end (s) once that
                                               one is gone; clients, workers, keepers
jobd:contested             zset    -           keys of locks that have kept a job out, by when
                                               their holders are looked for (s); clients, keepers
jobd:result:JID            hash    90 days,    state of a job that keeps its result, at (s), detail
                                   then told   (JSON), its times; clients, workers, keepers
jobd:batches               zset    -           ids of batches by when they were created (server
                                               time, s); clients, keepers
jobd:batches:open          zset    -           those that a block adds to, by when it last did;
                                               clients, keepers, jobd.api
jobd:batch:ID              hash    as told     a batch: description, tags (JSON), total, and how
                                               many members are in each state; next: the number
                                               of the next one; open: how many blocks add to it,
                                               block:ID, each; …_at: times (s); moves: how often
                                               it has changed; clients, workers, keepers, jobd.api
jobd:batch:ID:members      string  as above    four bits for each member by its number: whether it
                                               has failed, and its state; as above
jobd:batch:ID:callbacks    hash    as above    event:number to the payload of a callback, empty
                                               once it has been pushed; as above
jobd:batch:ID:closed:ID    string  1 h         that block has ended, and locks have kept jobs out:
                                               its end may be repeated; clients
jobd:departed              hash    -           keys of cleared jobs, and how many of each have been
                                               handled; "used" if jobs have attachments at all;
                                               jobd.api, keepers
jobd:departed:ID           list,   -           cleared jobs that are not in the trash, until they
                           zset                have been handled; jobd.api, keepers
jobd:stat:duplicates       string  -           pushes of unique jobs that were refused; clients
jobd:stat:duplicates:DATE  string  5 years     the same by UTC day; clients
jobd:stat:expired          string  -           jobs that expired before their start; workers
jobd:stat:expired:DATE     string  5 years     the same by UTC day; workers
jobd:stat:cancelled        string  -           jobs that were cancelled after a worker had claimed
                                               them; workers, keepers
jobd:stat:cancelled:DATE   string  5 years     the same by UTC day; workers, keepers
jobd:stacks:IDENTITY       hash    5 min       stacks of its threads, on request of a dashboard:
                                               at (s), text; workers
jobd:progress:IDENTITY     hash    60 s        tag to what its running jobs have reported about
                                               how far they are (JSON); workers
jobd:promoting:SET         hash    60 s        how many jobs of ``schedule`` or ``retry`` each
                                               keeper has reserved, and until when (server time,
                                               s); keepers
jobd:leader                hash    -           which keeper leads: holder, token: its fencing
                                               number, since, until (server time, s); keepers
jobd:periodic              zset    -           ids of the schedules of periodic jobs by their next
                                               tick (server time, s), inf if paused; workers,
                                               keepers, jobd.api
jobd:periodic:ID           hash    -           a schedule: entry (JSON), when (what its times depend
                                               on), first (s): seen, paused (s), own: its changed
                                               line (JSON); workers, jobd.api
jobd:periodic:ID:ticks     list    -           what became of its last 20 ticks, as JSON; keepers
jobd:periodic:apps         hash    -           application to the version (server time of its start,
                                               s) that its schedules are of, and their ids (JSON);
                                               workers
jobd:periodic:seen         zset    -           applications that have schedules by when one of their
                                               workers was last heard of (s); workers
jobd:workflow:ID           hash    24 h after  a workflow: what was planned and has happened, see
                                   its end;    lua/workflows.lua; also the channel on which its end
                                   180 days    is told; clients, workers, keepers, jobd.api
                                   where it
                                   has failed
jobd:steps:ID              string  the same    a letter for the state of each of its steps; the same
jobd:ready:ID              list    -           steps of it that a script has left to the next one;
                                               by the same
jobd:staged:NONCE          hash    1 h         fields of a large workflow during its push; clients
jobd:workflows             zset    -           ids by the time of the push (s); clients, workers
jobd:workflows:ended       zset    -           ids of those that have ended, by when they are
                                               forgotten (server time, s); workers, keepers,
                                               jobd.api
jobd:workflows:due         zset    -           ids of those for which a keeper has something to do,
                                               by when (server time, s); workers, keepers, jobd.api
jobd:classes               zset    -           digests of the class names that living workers know,
                                               by when that expires (s); workers
jobd:classes:DIGEST        set     90 s        the names; workers
jobd:slo                   hash    7 days      of each queue that has an objective: ``QUEUE|t``: its
                                               seconds, ``|at``: when a worker last had it (s),
                                               ``|s``, ``|l``: jobs that started, and too late;
                                               workers
jobd:slo:YYMMDD|H:MM       hash    8 h         ``QUEUE|s``, ``|l`` of a minute; workers
jobd:slo:YYMMDD|H:M        hash    8 h         the same of ten minutes (M is their digit); workers
jobd:audit                 stream  10,000      who did what to how many jobs, when; jobd.api
jobd:trash                 zset    -           id of each deletion by its end (server time, s);
                                               jobd.api
jobd:trash:ID              hash    24 h        who deleted what, when, from where; jobd.api
jobd:trash:ID:jobs         list,   24 h        the deleted jobs: a list from a queue, a zset with
                           zset                their scores from a sorted set; jobd.api
jobd:troubles              hash    60 s        what is wrong with each daemon, by HOST:PID of its
                                               master (JSON); keepers
jobd:keepers               hash    60 s        which keepers live, and of which version, by HOST:PID
                                               of their masters (JSON); keepers
jobd:web:attempts:OF       string  15 min      failed logins from an address or for a name;
                                               dashboard
jobd:web:ended             zset    12 h        sessions whose users have logged out, by expiry of
                                               their cookies; dashboard
=========================  ======  ==========  ==================================================

Channels, of the database DB: ``jobd:control:DB`` and ``jobd:control:DB:IDENTITY`` (what workers are
to look at), ``jobd:tail:DB`` (what happens to jobs, while somebody listens; workers); and keys of
results and workflows, on which their ends are told.

All keys of a script start with the prefix, so a prefix that contains a ``{hash tag}`` keeps them in
one slot of a Redis Cluster.
"""

from __future__ import annotations

import datetime

ASYNC = "async-"
"""What the names of those entries of ``IDENTITY:work`` begin with that run on the event loop."""


class Keys:
    """The key names of one installation.

    Example:
        >>> Keys("").queue("default"), Keys("{app}:").queue("default")
        ('queue:default', '{app}:queue:default')
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.queues = f"{prefix}queues"
        self.schedule = f"{prefix}schedule"
        self.retry = f"{prefix}retry"
        self.dead = f"{prefix}dead"
        self.paused = f"{prefix}paused"
        self.processes = f"{prefix}processes"
        self.super_processes = f"{prefix}super_processes"
        self.process_cleanup = f"{prefix}process_cleanup"
        self.processed = f"{prefix}stat:processed"
        self.failed = f"{prefix}stat:failed"
        self.expired = f"{prefix}jobd:stat:expired"
        self.duplicates = f"{prefix}jobd:stat:duplicates"
        self.contested = f"{prefix}jobd:contested"
        self.departed = f"{prefix}jobd:departed"
        self.batches = f"{prefix}jobd:batches"
        self.batches_open = f"{prefix}jobd:batches:open"
        self.cancelled = f"{prefix}jobd:stat:cancelled"
        self.leader = f"{prefix}dear-leader"
        self.jobd_leader = f"{prefix}jobd:leader"
        self.periodic = f"{prefix}jobd:periodic"
        self.periodic_apps = f"{prefix}jobd:periodic:apps"
        self.periodic_seen = f"{prefix}jobd:periodic:seen"
        self.classes = f"{prefix}jobd:classes"
        self.workflows = f"{prefix}jobd:workflows"
        self.workflows_ended = f"{prefix}jobd:workflows:ended"
        self.workflows_due = f"{prefix}jobd:workflows:due"
        self.slo = f"{prefix}jobd:slo"
        self.owners = f"{prefix}jobd:owners"
        self.clock = f"{prefix}jobd:clock"
        self.audit = f"{prefix}jobd:audit"
        self.trash = f"{prefix}jobd:trash"
        self.troubles = f"{prefix}jobd:troubles"
        self.keepers = f"{prefix}jobd:keepers"
        self.web_ended = f"{prefix}jobd:web:ended"

    def queue(self, name: str) -> str:
        return f"{self.prefix}queue:{name}"

    def processed_on(self, day: str) -> str:
        """*day* is a UTC date, ``YYYY-MM-DD``."""
        return f"{self.processed}:{day}"

    def failed_on(self, day: str) -> str:
        return f"{self.failed}:{day}"

    def expired_on(self, day: str) -> str:
        return f"{self.expired}:{day}"

    def cancelled_on(self, day: str) -> str:
        return f"{self.cancelled}:{day}"

    def duplicates_on(self, day: str) -> str:
        return f"{self.duplicates}:{day}"

    def lock(self, key: str) -> str:
        """The lock of a unique job."""
        return f"{self.prefix}jobd:lock:{key}"

    def result(self, jid: str) -> str:
        """What became of a job that keeps its result; also the channel on which that is told."""
        return f"{self.prefix}jobd:result:{jid}"

    def batch(self, bid: str) -> str:
        return f"{self.prefix}jobd:batch:{bid}"

    def batch_members(self, bid: str) -> str:
        """Four bits for each of its members."""
        return f"{self.batch(bid)}:members"

    def batch_callbacks(self, bid: str) -> str:
        return f"{self.batch(bid)}:callbacks"

    def batch_closed(self, bid: str, ref: str) -> str:
        """Of the block with that id."""
        return f"{self.batch(bid)}:closed:{ref}"

    def workflow(self, ref: str) -> str:
        """A workflow; also the channel on which its end is told."""
        return f"{self.prefix}jobd:workflow:{ref}"

    def workflow_steps(self, ref: str) -> str:
        """A letter for the state of each of its steps."""
        return f"{self.prefix}jobd:steps:{ref}"

    def workflow_ready(self, ref: str) -> str:
        """Steps of it that a script has left to the next one."""
        return f"{self.prefix}jobd:ready:{ref}"

    def staged(self, nonce: str) -> str:
        """Fields of a large workflow during its push."""
        return f"{self.prefix}jobd:staged:{nonce}"

    def schedule_of(self, schedule: str) -> str:
        """A schedule of a periodic job."""
        return f"{self.periodic}:{schedule}"

    def ticks(self, schedule: str) -> str:
        """Its last ticks."""
        return f"{self.periodic}:{schedule}:ticks"

    def classes_of(self, digest: str) -> str:
        """The class names that some workers know."""
        return f"{self.classes}:{digest}"

    def departed_jobs(self, ref: str) -> str:
        """Cleared jobs that are not in the trash."""
        return f"{self.departed}:{ref}"

    def process(self, identity: str) -> str:
        return f"{self.prefix}{identity}"

    def work(self, identity: str) -> str:
        """Running jobs as Sidekiq ≥ 6.5 reads them."""
        return f"{self.prefix}{identity}:work"

    def workers(self, identity: str) -> str:
        """Running jobs as Sidekiq ≤ 6.4 reads them."""
        return f"{self.prefix}{identity}:workers"

    def super_queues(self, identity: str) -> str:
        return f"{self.prefix}{identity}:super_queues"

    def private(self, identity: str, queue: str) -> str:
        return f"{self.prefix}queue:sq|{identity}|{queue}"

    def signals(self, identity: str) -> str:
        return f"{self.prefix}{identity}-signals"

    def stacks(self, identity: str) -> str:
        """Stacks of its threads, written on request."""
        return f"{self.prefix}jobd:stacks:{identity}"

    def inflight(self, identity: str) -> str:
        return f"{self.prefix}jobd:inflight:{identity}"

    def progress(self, identity: str) -> str:
        """How far its running jobs have come."""
        return f"{self.prefix}jobd:progress:{identity}"

    def cancels(self, identity: str) -> str:
        """Requests to cancel its jobs in flight."""
        return f"{self.prefix}jobd:cancels:{identity}"

    def waits(self, identity: str) -> str:
        return f"{self.prefix}jobd:waits:{identity}"

    def claim(self, identity: str, queue: str) -> str:
        return f"{self.prefix}jobd:claim:{identity}:{queue}"

    def promoting(self, source: str) -> str:
        """Reservations of the keepers for the set with the key *source*.

        >>> Keys("app:").promoting("app:retry")
        'app:jobd:promoting:retry'
        """
        return f"{self.prefix}jobd:promoting:{source.removeprefix(self.prefix)}"

    def metrics_minute(self, at: float) -> str:
        """*at* is in seconds since 1970, here and below.

        >>> Keys().metrics_minute(1795416072.9)
        'j|261123|6:41'
        """
        when = _utc(at)
        return f"{self.prefix}j|{when:%y%m%d}|{when.hour}:{when:%M}"

    def metrics_ten_minutes(self, at: float) -> str:
        when = _utc(at)
        return f"{self.prefix}j|{when:%y%m%d}|{when.hour}:{when.minute // 10}"

    def slo_minute(self, at: float) -> str:
        """Jobs that started in a minute, of queues that have an objective."""
        when = _utc(at)
        return f"{self.slo}:{when:%y%m%d}|{when.hour}:{when:%M}"

    def slo_ten_minutes(self, at: float) -> str:
        when = _utc(at)
        return f"{self.slo}:{when:%y%m%d}|{when.hour}:{when.minute // 10}"

    def metrics_histogram(self, name: str, at: float) -> str:
        when = _utc(at)
        return f"{self.prefix}h|{name}-{when.day}-{when.hour}:{when.minute}"

    def marks(self, at: float) -> str:
        """The deploys of a day."""
        return f"{self.prefix}{_utc(at):%Y%m%d}-marks"

    def deploy_lock(self, label: str) -> str:
        return f"{self.prefix}deploylock-{label}"

    def iteration(self, jid: str) -> str:
        """Progress of an iterable job of Sidekiq."""
        return f"{self.prefix}it-{jid}"

    def web_attempts(self, of: str) -> str:
        """Number of recent failed logins from an address, or for a name."""
        return f"{self.prefix}jobd:web:attempts:{of}"

    def imported(self, ref: str) -> str:
        """That a file of jobs with this id was imported, and by whom."""
        return f"{self.prefix}jobd:import:{ref}"

    def trashed(self, ref: str) -> str:
        """The description of a deletion."""
        return f"{self.trash}:{ref}"

    def trashed_jobs(self, ref: str) -> str:
        return f"{self.trash}:{ref}:jobs"


def _utc(at: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at, datetime.UTC)
