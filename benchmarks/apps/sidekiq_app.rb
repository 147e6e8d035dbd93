# Sidekiq's jobs: the worker process loads this file; run as a program it enqueues.
require "sidekiq"

Redis.silence_deprecations = true if Redis.respond_to?(:silence_deprecations=)

URL = ENV.fetch("JOBD_BENCH_URL")
DATA = "0123456789abcdef" * 640

# The Ruby side of tally.py. A thread counts in a variable of its own; one more thread writes the
# sums out every five milliseconds, so that a job pays no more here than in Python.
module Tally
  @cells = []
  @lock = Mutex.new

  def self.ran
    cell = Thread.current[:tally] ||= @lock.synchronize { [0].tap { |mine| @cells << mine } }
    cell[0] += 1
  end

  def self.start
    file = File.open(ENV.fetch("JOBD_BENCH_TALLY"), "r+b")
    file.flock(File::LOCK_EX)
    number = file.pread(8, 0).unpack1("Q")
    file.pwrite([Process.pid, 0].pack("QQ"), 16 * number)
    file.pwrite([number + 1].pack("Q"), 0)
    file.flock(File::LOCK_UN)
    Thread.new do
      loop do
        sleep 0.005
        file.pwrite([@cells.sum { |cell| cell[0] }].pack("Q"), 16 * number + 8)
      end
    end
  end
end

class Empty
  include Sidekiq::Worker

  def perform
    Tally.ran
  end
end

class Sleep
  include Sidekiq::Worker

  def perform
    sleep 0.001
    Tally.ran
  end
end

class Long
  include Sidekiq::Worker

  def perform
    sleep 0.1
    Tally.ran
  end
end

class Cpu
  include Sidekiq::Worker

  def perform
    clock = Process::CLOCK_THREAD_CPUTIME_ID
    finish = Process.clock_gettime(clock) + 0.001
    nil while Process.clock_gettime(clock) < finish
    Tally.ran
  end
end

class Payload
  include Sidekiq::Worker

  def perform(data)
    raise "the payload did not arrive whole" unless data.size == DATA.size
    Tally.ran
  end
end

class Stamp
  include Sidekiq::Worker

  # The clock of Python's time.monotonic_ns.
  def perform(at)
    now = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
    STAMPS.pwrite([now].pack("Q"), 8 * at)
  end
end

STAMPS = File.open(ENV.fetch("JOBD_BENCH_STAMPS"), "r+b")

JOBS = {
  "empty" => [Empty, []],
  "sleep" => [Sleep, []],
  "long" => [Long, []],
  "cpu" => [Cpu, []],
  "payload" => [Payload, [DATA]]
}

Sidekiq.configure_server do |config|
  config.redis = {url: URL}
  Sidekiq.logger.level = Logger::WARN if ENV["JOBD_BENCH_QUIET"] == "1"
  config.on(:startup) { Tally.start }
end

Sidekiq.configure_client { |config| config.redis = {url: URL} }

if $PROGRAM_NAME == __FILE__
  how, workload, n = ARGV
  worker, arguments = JOBS.fetch(workload)
  Sidekiq.redis { |redis| redis.ping }
  began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  case how
  when "push" then n.to_i.times { worker.perform_async(*arguments) }
  when "push_bulk"
    n.to_i.times.each_slice(1000) do |slice|
      Sidekiq::Client.push_bulk("class" => worker, "args" => slice.map { arguments })
    end
  end
  puts Process.clock_gettime(Process::CLOCK_MONOTONIC) - began
end
