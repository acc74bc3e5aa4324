// What a Kafka source finds at the start of an attempt: its partitions, and for those that no checkpoint
// knows the offsets to start and to stop at.
//
// Threads:  the job's control thread, which it blocks for at most 9 s.
// Failures: ConnectorError naming the broker and what is wrong.
#pragma once

#include <vector>

#include "levada/clock.h"

#include "connectors/kafka_client.h"

namespace levada::kafka {

/// See SourceFactory::discover. Partitions that a checkpoint does not know start as `.start_from` says
/// in a fresh job; in a restored one they are new, and start at their earliest record.
std::vector<Split> discover_splits(const detail::SourceSettings& settings,
                                   const std::vector<Split>& restored, const Clock& clock,
                                   const LogFunction& log);

}  // namespace levada::kafka
