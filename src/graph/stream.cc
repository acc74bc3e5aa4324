#include "levada/detail/stream.h"

#include <memory>
#include <string>
#include <utility>

namespace levada::detail {
namespace {

constexpr std::size_t kUidBytesMax = 80;

bool uid_is_valid(std::string_view uid) {
  if (uid.empty() || uid.size() > kUidBytesMax) return false;
  for (const char c : uid) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  }
  return true;
}

}  // namespace

OutputRef StreamHandle::add(Transformation transformation) const {
  for (const OutputRef& from : from_) {
    transformation.inputs.push_back({.from = from, .input = 0, .exchange = exchange_});
  }
  return {graph_->add(std::move(transformation)), 0};
}

OutputRef StreamHandle::add(Transformation transformation, const StreamHandle& second) const {
  if (second.graph_ != graph_) {
    graph_->problem("connect: the streams belong to different environments", transformation.where);
    return add(std::move(transformation));
  }
  for (const OutputRef& from : second.from_) {
    transformation.inputs.push_back({.from = from, .input = 1, .exchange = second.exchange_});
  }
  return add(std::move(transformation));
}

OutputRef StreamHandle::add_step(std::string name, const BatchType& out, OperatorFactory factory,
                                 std::source_location where) const {
  Transformation node;
  node.name = std::move(name);
  node.outputs = {{.tag = {}, .type = &out}};
  node.make_operator = std::move(factory);
  node.where = where;
  return add(std::move(node));
}

OutputRef StreamHandle::add_sink(const std::string& name, std::shared_ptr<SinkFactory> sink,
                                 std::source_location where) const {
  Transformation node;
  node.kind = NodeKind::kSink;
  node.name = name;
  node.may_block = sink->blocks();
  node.make_operator = [sink] { return make_sink_operator(sink->make_writer()); };
  const auto partitioning = sink->partitioning();
  node.sink = std::move(sink);
  node.where = where;
  const OutputRef added = add(std::move(node));
  if (partitioning) {
    for (InputEdge& edge : graph_->node(added.node).inputs) {
      edge.exchange = {ExchangeKind::kHash, partitioning};
    }
  }
  return added;
}

OutputRef StreamHandle::add_function_sink(std::string name, OperatorFactory factory,
                                          std::source_location where) const {
  Transformation node;
  node.kind = NodeKind::kSink;
  node.name = std::move(name);
  node.make_operator = std::move(factory);
  node.where = where;
  return add(std::move(node));
}

OutputRef StreamHandle::side_output_of(std::string_view tag, const BatchType& type,
                                       std::source_location where) const {
  if (from_.size() != 1) {
    graph_->problem("side_output(\"" + std::string(tag) + "\") of a union: take it before the union",
                    where);
  }
  const OutputRef from = from_.front();
  return {from.node, graph_->side_output(from.node, tag, type, where)};
}

void StreamHandle::append(const StreamHandle& other) {
  if (other.graph_ != graph_) {
    graph_->problem("union_with: the streams belong to different environments",
                    std::source_location::current());
    return;
  }
  from_.insert(from_.end(), other.from_.begin(), other.from_.end());
}

Transformation* StreamHandle::last_step(std::string_view call) const {
  Transformation& node = graph_->node(from_.back().node);
  if (from_.size() == 1) return &node;
  graph_->problem(std::string(call) + " after union_with: a union is no step of its own", node.where);
  return nullptr;
}

void StreamHandle::set_uid(std::string_view uid) const {
  Transformation* node = last_step("uid");
  if (node == nullptr) return;
  if (!uid_is_valid(uid)) {
    graph_->problem("uid of " + node->name +
                        ": 1 to 80 bytes without control characters are allowed",
                    node->where);
    return;
  }
  node->uid = uid;
}

void StreamHandle::set_name(std::string_view name) const {
  if (Transformation* node = last_step("name")) node->name = name;
}

void StreamHandle::set_parallelism(int parallelism) const {
  Transformation* node = last_step("parallelism");
  if (node == nullptr) return;
  if (parallelism < 1) {
    graph_->problem("parallelism(" + std::to_string(parallelism) + ") of " + node->name +
                        ": at least 1 is needed",
                    node->where);
    return;
  }
  node->parallelism = parallelism;
}

void StreamHandle::set_chaining(bool with_input, bool with_output) const {
  Transformation* node = last_step("start_new_chain");
  if (node == nullptr) return;
  node->chain_with_input = with_input;
  node->chain_with_output = with_output;
}

}  // namespace levada::detail
