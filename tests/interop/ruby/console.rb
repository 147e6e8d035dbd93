# Evaluates one Ruby expression a line (a JSON string) and answers with a line of JSON.
require_relative "jobs"

Sidekiq.logger.level = Logger::FATAL
$stdout.sync = true
while (line = $stdin.gets)
  begin
    answer = {"value" => eval(JSON.parse(line), TOPLEVEL_BINDING)}
  rescue StandardError, ScriptError => error
    answer = {"error" => "#{error.class}: #{error.message}"}
  end
  puts JSON.generate(answer)
end
