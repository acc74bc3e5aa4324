#include "levada/state.h"

#include <stdexcept>

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

}  // namespace levada::detail
