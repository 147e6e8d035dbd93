# The Ruby application: loaded by the `sidekiq` process and by the console.
require "sidekiq"
require "sidekiq/api"
require "json"

Redis.silence_deprecations = true if defined?(Redis) && Redis.respond_to?(:silence_deprecations=)

Sidekiq.configure_server do |config|
  config.on(:startup) { warn "interop: ready" }
  # Look for due jobs about once a second.
  options = config.respond_to?(:[]=) ? config : config.options
  options[:poll_interval_average] = 1
end

module Record
  # Every execution leaves a line, so that a test can see who ran what, with which arguments.
  def self.write(job, args)
    Sidekiq.redis do |redis|
      redis.call("RPUSH", "ran", JSON.generate("by" => "ruby", "class" => job.class.name,
        "jid" => job.jid, "args" => args))
    end
  end
end

class Greet
  include Sidekiq::Worker
  sidekiq_options tags: %w[a b]

  def perform(*args)
    Record.write(self, args)
  end
end

# Fails for as long as the key "broken" exists.
class Flaky
  include Sidekiq::Worker
  sidekiq_options retry: 5, backtrace: true

  def perform(*args)
    Record.write(self, args)
    raise ArgumentError, "broken é #{args.first}" if Sidekiq.redis { |redis| redis.call("EXISTS", "broken") } == 1
  end
end

# Runs until somebody pushes to the list "go", at most so many seconds.
class Slow
  include Sidekiq::Worker

  def perform(seconds)
    limit = Time.now + seconds
    sleep 0.05 until Sidekiq.redis { |redis| redis.call("LLEN", "go") } > 0 || Time.now > limit
  end
end
