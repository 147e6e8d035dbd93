"""The data API beside the real Sidekiq: it reads what Ruby wrote, and Ruby reads what it did."""

from __future__ import annotations

import redis as redis_py

from jobd.api import Api
from tests.interop.conftest import Python, Ruby
from tests.interop.sidekiq import Console
from tests.interop.test_sidekiq import BEAT


def test_jobs_of_ruby_are_read_and_moved(
    console: Console, ruby: Ruby, redis: redis_py.Redis
) -> None:
    api = Api(redis).acting_as("me")
    redis.set("broken", 1)
    with ruby() as sidekiq:
        jids = [console(f"Flaky.perform_async('x', {n})") for n in range(5)]
        sidekiq.wait(lambda: api.retries.size == 5, 10, "all have failed")
    (group,) = api.retries.groups().run()
    assert (group.error_class, group.count) == ("ArgumentError", 5)
    assert "jobs.rb" in group.place
    assert {entry.jid for entry in api.retries} == set(jids)
    first, second, third, fourth, fifth = api.retries.page()
    assert [first.kill(), second.delete(), third.retry(), fourth.add_to_queue()] == [True] * 4
    assert fifth.reschedule(2_000_000_000.5)

    assert console("Sidekiq::DeadSet.new.map(&:jid)") == [first.jid]
    queued = console("Sidekiq::Queue.new.map { |j| [j.jid, j.item['retry_count']] }")
    assert sorted(queued) == sorted([[third.jid, -1], [fourth.jid, 0]])
    assert console("Sidekiq::RetrySet.new.map { |e| [e.jid, e.score] }") == [
        [fifth.jid, 2_000_000_000.5]
    ]
    # Ruby finds them by the bytes that it would write.
    assert console("Sidekiq::DeadSet.new.each(&:delete); Sidekiq::DeadSet.new.size") == 0
    assert console("Sidekiq::Queue.new.each(&:delete); Sidekiq::Queue.new.size") == 0
    console("Sidekiq::RetrySet.new.each { |e| e.reschedule(Time.at(2_000_000_001)) }; nil")
    assert api.retries.size == 1
    (deletion, killed) = api.trash
    assert (deletion.restore(), killed.restore()) == (1, 0)
    assert console("Sidekiq::RetrySet.new.map(&:jid).sort") == sorted([second.jid, fifth.jid])
    redis.delete("broken")


def test_processes_of_both_languages(
    console: Console, python: Python, ruby: Ruby, redis: redis_py.Redis
) -> None:
    api = Api(redis)
    running = python("-c", "3", "-q", "other")
    with ruby("-q", "default", "-q", "low") as sidekiq:
        slow = console("Slow.perform_async(60)")
        work = sidekiq.wait(lambda: api.work.all(), BEAT, "Ruby's running job is seen")[0]
        assert (work.job.jid, work.queue) == (slow, "default")
        sidekiq.wait(lambda: len(api.processes.all()) == 2, BEAT, "both are seen")
        sidekiq.wait(lambda: api.processes[work.process].busy == 1, BEAT, "Ruby says it is busy")
        ours, theirs = sorted(api.processes, key=lambda process: process.version, reverse=True)
        assert (ours.queues, ours.concurrency, ours.pid in running.workers()) == (
            ("other",),
            3,
            True,
        )
        assert (theirs.identity, theirs.queues) == (work.process, ("default", "low"))
        assert (theirs.concurrency, theirs.busy, theirs.stopping) == (2, 1, False)
        assert theirs.rss > 5000
        assert api.work.find_work(slow) == work
        assert theirs.quiet()
        sidekiq.wait(lambda: api.processes[theirs.identity].stopping, BEAT, "Ruby obeys")
        redis.rpush("go", 1)


def test_encrypted_arguments_of_ruby_are_not_shown(console: Console, redis: redis_py.Redis) -> None:
    console("Greet.set('encrypt' => true).perform_async(1, 'secret')")
    (job,) = Api(redis).queue("default")
    assert job.display_args == [1, "[encrypted data]"]
