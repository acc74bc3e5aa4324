#include "levada/state.h"

#include <stdexcept>
#include <string>

#include "levada/detail/paged_map.h"
#include "levada/error.h"

namespace levada::detail {
namespace {

thread_local StateCopies* copies = nullptr;

}  // namespace

StateCopies::StateCopies() : outer_(std::exchange(copies, this)) {}
StateCopies::~StateCopies() { copies = outer_; }

void StateMember::note_copy() const {
  if (copies != nullptr) copies->names.push_back(name_);
}

void StateMember::throw_unbound() const {
  throw std::logic_error("state '" + name_ +
                         "' is used outside of the copy of its function that the engine made");
}

void throw_page_missing(std::string_view state) {
  throw StateError("'" + std::string(state) + "' lacks a page of a map: the cold tier has lost it");
}

void throw_map_torn(std::string_view state) {
  throw StateError("'" + std::string(state) + "' was used after an error had cut a change of it short");
}

}  // namespace levada::detail
