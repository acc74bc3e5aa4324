// What orders_to_postgres shows while it runs, and how it is stopped.
#pragma once

#include <string_view>

#include "levada/job.h"
#include "levada/log.h"
#include "levada/time.h"

/// Prints warnings and errors of the library to standard error.
void log_to_stderr(levada::LogLevel level, std::string_view message);

/// SIGTERM and SIGINT ask the job for a stop with a final checkpoint. `job` must stay where it is.
void stop_on_signals(levada::Job& job);

/// Prints a line of progress each `interval`, and a last one when the job has ended:
/// progress rows=123 rows_per_s=456 watermark=… checkpoint=17 late=3 position=0:1234,1:1200
void report_until_end(levada::Job& job, levada::Duration interval);

/// Prints the names of the fail points and their phases; none in a build without them. Returns 0.
int print_fail_points();
