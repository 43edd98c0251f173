// SPDX-License-Identifier: Apache-2.0
#include "trainer/tensorboard.h"

#include <array>
#include <chrono>
#include <cstring>
#include <utility>

#include <unistd.h>

#include "checkpoint/checksum.h"

namespace tessera {
namespace {

template <typename T>
std::string little_endian(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

// Protocol buffer fields: key = number * 8 + wire type (0 varint, 1 64-bit, 2 length, 5 32-bit).
std::string key(int number, int wire) {
  return varint(static_cast<uint64_t>(number * 8 + wire));
}
std::string text_field(int number, const std::string& text) {
  return key(number, 2) + varint(text.size()) + text;
}

// TensorFlow's mask: a checksum of data that holds checksums would be weak.
uint32_t masked_crc(const std::string& bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

std::string record(const std::string& payload) {
  const std::string length = little_endian<uint64_t>(payload.size());
  return length + little_endian(masked_crc(length)) + payload + little_endian(masked_crc(payload));
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::string tensorboard_version(double wall_time) {
  return record(key(1, 1) + little_endian(wall_time) + text_field(3, "brain.Event:2"));
}

std::string tensorboard_scalar(double wall_time, int64_t step, const std::string& tag,
                               float value) {
  const std::string entry = text_field(1, tag) + key(2, 5) + little_endian(value);
  return record(key(1, 1) + little_endian(wall_time) + key(2, 0) +
                varint(static_cast<uint64_t>(step)) + text_field(5, text_field(1, entry)));
}

std::string tensorboard_start(double wall_time, int64_t step) {
  const std::string start = key(1, 0) + varint(1);
  return record(key(1, 1) + little_endian(wall_time) + key(2, 0) +
                varint(static_cast<uint64_t>(step)) + text_field(7, start));
}

namespace {

std::string new_file_name() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const double time = now();
  return "events.out.tfevents." + std::to_string(static_cast<int64_t>(time)) + "." + host.data() +
         "." + std::to_string(getpid());
}

}  // namespace

TensorBoardFile::TensorBoardFile(const std::string& directory)
    : file_(directory + "/" + new_file_name()), records_(tensorboard_version(now())) {
  write();
}

// All records of one step are written at once. Records that could not be written are lost.
void TensorBoardFile::write() {
  file_.append(std::exchange(records_, {}));
}

void TensorBoardFile::on_start(int64_t step, const std::string&) {
  records_ += tensorboard_start(now(), step + 1);
  write();
}

void TensorBoardFile::scalar(int64_t step, const std::string& tag, double value) {
  records_ += tensorboard_scalar(now(), step, tag, static_cast<float>(value));
}

void TensorBoardFile::on_step(const StepReport& report) {
  scalar(report.step, "train/loss", report.loss);
  scalar(report.step, "train/grad_norm", report.grad_norm);
  scalar(report.step, "train/lr", report.learning_rate);
  scalar(report.step, "train/loss_scale", report.loss_scale);
  scalar(report.step, "train/tokens_per_second",
         static_cast<double>(report.target_tokens) / report.seconds);
  if (!report.expert_loads.empty()) {
    scalar(report.step, "train/aux_loss", report.aux_loss);
    scalar(report.step, "experts/load", report.expert_load());
  }
  for (const ExpertLoad& load : report.expert_loads) {
    const std::string layer = "experts/layer_" + std::to_string(load.layer);
    scalar(report.step, layer + "/max", load.max);
    scalar(report.step, layer + "/p95", load.p95);
    scalar(report.step, layer + "/dead", static_cast<double>(load.dead));
  }
  write();
}

void TensorBoardFile::on_eval(const EvalReport& report) {
  scalar(report.step, "eval/loss", report.loss);
  if (report.bits_per_byte > 0) scalar(report.step, "eval/bits_per_byte", report.bits_per_byte);
  write();
}

}  // namespace tessera
