// A physical plan as text: one line a chain, one line an edge; what golden files compare.
#pragma once

#include <string>

#include "plan/physical_plan.h"

namespace levada {

std::string print_plan(const PhysicalPlan& plan);

}  // namespace levada
