// Everything of the core's typed face; connectors have headers of their own.
#pragma once

#include "levada/aggregate.h"
#include "levada/connected_streams.h"
#include "levada/connectors/values.h"
#include "levada/data_stream.h"
#include "levada/environment.h"
#include "levada/error.h"
#include "levada/job.h"
#include "levada/keyed_stream.h"
#include "levada/options.h"
#include "levada/process.h"
#include "levada/serde.h"
#include "levada/state.h"
#include "levada/time.h"
#include "levada/watermarks.h"
#include "levada/windowed_stream.h"
#include "levada/windows.h"
