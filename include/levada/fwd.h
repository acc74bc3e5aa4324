// Forward declarations of the typed face.
#pragma once

namespace levada {

class Batch;
class Job;
class LogicalGraph;
class MemoryBudget;
class Operator;
class Output;
class SinkHandle;
class StreamEnvironment;
template <class T>
class DataStream;
template <class K, class T>
class KeyedStream;
template <class K, class T>
class WindowedStream;
template <class T>
class BroadcastStream;
template <class T, class U>
class UnkeyedBroadcastStreams;
template <class K, class T, class U>
class KeyedBroadcastStreams;
template <class T, class U>
class UnkeyedConnectedStreams;
template <class K, class T, class U>
class ConnectedStreams;
template <class R>
class Collector;
template <class T>
class Collected;
template <class T>
struct OutputTag;
template <class T>
struct Sink;
template <class T>
struct Source;
template <class T>
struct Watermarks;

}  // namespace levada
