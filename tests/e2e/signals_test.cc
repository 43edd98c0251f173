// SPDX-License-Identifier: Apache-2.0
// Signals at any time of a run: it saves and ends with 75, or ends before it has anything to save.
#include <random>

#include <sys/stat.h>

#include "tests/support/workshop.h"

namespace tessera {
namespace {

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

const Words kLong = {"run.steps=100000", "checkpoint.every=0", "run.log_every=1000"};

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// Until main() has begun, the kernel's default for a signal holds.
bool wait_until_kept(Program& job) {
  const std::string status = "/proc/" + std::to_string(job.pid()) + "/status";
  while (job.running()) {
    const std::string text = read_text(status);
    const size_t at = text.find("SigCgt:");
    if (at != std::string::npos &&
        (std::stoull(text.substr(at + 7, 18), nullptr, 16) >> (SIGUSR1 - 1) & 1) != 0)
      return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

int64_t newest_checkpoint(const std::string& run) {
  const ProgramResult list = workshop().tessera({"checkpoint", "list", run, "--json"});
  int64_t newest = -1;
  for (const auto& entry : nlohmann::json::parse(list.out))
    if (entry["status"] == "complete") newest = std::max(newest, entry["step"].get<int64_t>());
  return newest;
}

class OneProcess : public testing::TestWithParam<int> {};

TEST_P(OneProcess, SavesAndEndsWith75) {
  const std::string run = "alone-" + std::to_string(GetParam());
  Program job(with({TESSERA_BINARY, "train", "recipe.yaml", "--run-dir", run}, kLong),
              workshop().options());
  ASSERT_TRUE(workshop().wait_for_step(job, run, 3)) << job.err();
  job.signal(GetParam());
  const ProgramResult stopped = job.wait(60);
  EXPECT_EQ(stopped.exit_code, 75) << stopped.err;
  EXPECT_EQ(newest_checkpoint(run), workshop().last_step(run)) << stopped.err;
}

INSTANTIATE_TEST_SUITE_P(AtACtrlCOrAClosedTerminal, OneProcess, testing::Values(SIGINT, SIGHUP));

TEST(Signals, DuringTheStartAreKeptForTheFirstStep) {
  Program job(with({TESSERA_BINARY, "train", "recipe.yaml", "--run-dir", "early"}, kLong),
              workshop().options());
  ASSERT_TRUE(wait_until_kept(job));
  job.signal(SIGTERM);
  const ProgramResult stopped = job.wait(60);
  EXPECT_EQ(stopped.exit_code, 75) << stopped.err;
  EXPECT_EQ(newest_checkpoint("early"), 1);
}

TEST(Signals, EndOtherVerbsAsUsual) {
  const std::string text = workshop() / "text";
  ASSERT_EQ(::mkfifo(text.c_str(), 0600), 0);
  Program job(
      {"sh", "-c",
       "exec " + std::string(TESSERA_BINARY) + " tokenizer encode corpus/tokenizer.json <text"},
      workshop().options());
  const int writer = ::open(text.c_str(), O_WRONLY);  // returns when it is read
  ASSERT_GE(writer, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  job.signal(SIGTERM);
  EXPECT_EQ(job.wait(60).exit_code, 128 + SIGTERM);
  ::close(writer);
}

// One job with a signal `milliseconds` after it has begun, another one a second later if need be.
void expect_a_good_end(const std::string& run, int number, int milliseconds) {
  SCOPED_TRACE("signal " + std::to_string(number) + " after " + std::to_string(milliseconds) +
               " ms");
  Program job(with({TESSERA_BINARY, "launch", "recipe.yaml", "-n", "2", "--run-dir", run}, kLong),
              workshop().options());
  ASSERT_TRUE(wait_until_kept(job)) << job.err();
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  job.signal(number);
  const ProgramResult stopped = job.wait(120);
  EXPECT_FALSE(stopped.timed_out) << stopped.err;
  if (number == SIGINT && stopped.exit_code == 130) return;  // before the ranks were ready
  EXPECT_EQ(stopped.exit_code, 75) << stopped.err;
  EXPECT_EQ(newest_checkpoint(run), workshop().last_step(run)) << stopped.err;
  std::filesystem::remove_all(workshop() / run);
}

void send_signals(int jobs, unsigned seed) {
  std::mt19937 random(seed);
  const std::vector<int> numbers = {SIGUSR1, SIGTERM, SIGHUP, SIGINT};
  for (int i = 0; i < jobs; ++i)
    expect_a_good_end("random-" + std::to_string(i), numbers[static_cast<size_t>(i) % 4],
                      static_cast<int>(random() % 1500));
}

TEST(Signals, AtAnyTimeOfALaunchedRunSaveAndEndWith75) {
  send_signals(std::getenv("TESSERA_MANY_SIGNALS") != nullptr ? 200 : 12, 1);
}

}  // namespace
}  // namespace tessera
