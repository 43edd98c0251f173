// SPDX-License-Identifier: Apache-2.0
#include "tests/soak/life.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "tests/soak/processes.h"

namespace tessera::soak {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kRun = "life";
// This only ends a hang; what takes longest, a start on a busy machine, takes seconds.
constexpr double kHangSeconds = 180;
// A run so long that it is never done by itself; its schedule is the same for all starts.
const Words kAlways = {"run.steps=1000000", "run.log_every=1000000", "data.validation=null",
                       "metrics.tensorboard=false"};

void pause_shortly() {
  std::this_thread::sleep_for(std::chrono::microseconds(300));
}

}  // namespace

// A job is one start of the program, with all its processes.
class Life::Job {
 public:
  Job(const Life& life, const Start& start, const std::string& token)
      : start_(start), token_(token), program_(words(start), options(life, token)) {}
  ~Job() { wait_until_gone(token_, 0); }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  const Start& start() const { return start_; }
  bool running() { return program_.running(); }
  std::string err() const { return program_.err(); }
  void signal(int number) { program_.signal(number); }
  // The list is empty when it has not started them yet.
  std::vector<pid_t> ranks() const {
    std::vector<pid_t> pids = {program_.pid()};
    const int generations = static_cast<int>(start_.starter);  // between it and its ranks
    for (int i = 0; i < generations && !pids.empty(); ++i) pids = children_of(pids.front());
    return pids;
  }
  pid_t mpirun() const {
    const std::vector<pid_t> children = children_of(program_.pid());
    return children.empty() ? -1 : children.front();
  }
  // Waits for the end of the program and of all its processes.
  ProgramResult wait() {
    ProgramResult result = program_.wait(kHangSeconds);
    EXPECT_FALSE(result.timed_out) << "hangs\n" << result.err;
    EXPECT_TRUE(wait_until_gone(token_, kHangSeconds)) << "left a process behind";
    return result;
  }

 private:
  static Words words(const Start& start) {
    Words words;
    if (start.starter == Starter::alone) words = {TESSERA_BINARY, "train"};
    if (start.starter == Starter::mpirun)
      words = {"mpirun", "--oversubscribe",           "--bind-to",    "none",
               "-n",     std::to_string(start.ranks), TESSERA_BINARY, "train"};
    if (start.starter == Starter::launcher)
      words = {TESSERA_BINARY, "launch", "-n", std::to_string(start.ranks)};
    words.emplace_back("recipe.yaml");
    words.insert(words.end(), start.words.begin(), start.words.end());
    return words;
  }
  static ProgramOptions options(const Life& life, const std::string& token) {
    return life.workshop_.options({{kTokenVariable, token}});
  }

  Start start_;
  std::string token_;
  Program program_;
};

Life::Life(uint64_t seed, Layouts layouts)
    : seed_(seed),
      layouts_(layouts),
      bystanders_(fs::path(workshop_ / "").parent_path().string(), kRun),
      files_(workshop_ / kRun) {}

void Life::live(int64_t rounds) {
  for (round_ = 1; round_ <= rounds && !testing::Test::HasFailure(); ++round_) {
    story_.clear();
    SCOPED_TRACE("TESSERA_SOAK_SEED=" + std::to_string(seed_) + ", round " +
                 std::to_string(round_));
    before_ = files_.last_job();
    if (newest_ > 0) bystanders_.add_step_of_others();
    // Each round has a generator of its own, because the place where a disturbance meets a job
    // depends on the machine, and the draws of later rounds must not depend on that.
    random_.seed(seed_ * 1'000'003 + static_cast<uint64_t>(round_) * 2 +
                 static_cast<uint64_t>(layouts_));
    const bool damages = below(random_, 3) == 0, goes_back = below(random_, 4) == 0,
               doubles = below(random_, 5) == 0;
    if (damages && sound_steps().size() > 1) damage_newest();
    if (doubles)
      contest();
    else
      ordinary_round(goes_back && sound_steps().size() > 1);
    std::printf("round %ld  %s\n", static_cast<long>(round_), story_.c_str());
    std::fflush(stdout);
    EXPECT_EQ(bystanders_.harm(), "") << story_;
  }
  if (testing::Test::HasFailure()) return;
  SCOPED_TRACE("TESSERA_SOAK_SEED=" + std::to_string(seed_) + ", the end");
  finish();
}

// A start may go on from these steps.
std::vector<int64_t> Life::sound_steps() const {
  std::vector<int64_t> steps;
  for (const int64_t step : files_.committed())
    if (!damaged_.contains(step)) steps.push_back(step);
  return steps;
}

std::string Life::token() const {
  return std::to_string(::getpid()) + "-" + std::to_string(seed_) + "-" +
         std::to_string(static_cast<int>(layouts_)) + "-" + std::to_string(round_);
}

void Life::tell(const std::string& text) {
  story_ += (story_.empty() ? "" : "; ") + text;
}

Life::Start Life::draw_start() {
  Start start;
  const bool may_be_alone = layouts_ == Layouts::pipeline;
  start.ranks = may_be_alone ? 1 + static_cast<int>(below(random_, 2)) : 2;
  start.starter = start.ranks == 1 ? static_cast<Starter>(below(random_, 3))
                                   : static_cast<Starter>(1 + below(random_, 2));
  const auto every = std::to_string(1 + below(random_, 4));
  const auto last = std::to_string(1 + below(random_, 3));
  start.words = {"--run-dir", kRun, "checkpoint.every=" + every, "checkpoint.keep.last=" + last};
  start.words.insert(start.words.end(), kAlways.begin(), kAlways.end());
  std::string layout;
  if (layouts_ == Layouts::data)
    layout = "parallel.zero=" + std::to_string(below(random_, 2));
  else if (start.ranks == 2)
    layout = "parallel.pipeline=2";
  if (!layout.empty()) start.words.push_back(layout);
  constexpr const char* kNames[] = {"alone", "mpirun", "launch"};
  start.text = std::string(kNames[static_cast<int>(start.starter)]) + " -n " +
               std::to_string(start.ranks) + " " + layout + " every " + every + " keep " + last;
  return start;
}

// The only sound one is never damaged.
void Life::damage_newest() {
  std::vector<int64_t> sound = sound_steps();
  for (int64_t times = 1 + below(random_, std::ssize(sound) - 1); times > 0; --times) {
    const int64_t step = sound.back();
    sound.pop_back();
    tell(step_name(step) + "/" + damage(files_.step_directory(step), random_));
    damaged_.insert(step);
  }
  newest_ = sound.back();
}

bool Life::wait_for(Job& job, Moment moment, int64_t steps) {
  const std::set<std::string> names = files_.names();
  // A save is interrupted when it holds so many files. Some never hold 5, so that they are
  // interrupted after their rename, before or after COMMIT.
  const int64_t files_of_save = below(random_, 6);
  const auto new_name = [&](const char* prefix) -> std::string {
    for (const std::string& name : files_.names())
      if (name.starts_with(prefix) && !names.contains(name)) return name;
    return "";
  };
  const auto files_in = [&](const std::string& name) -> int64_t {
    std::error_code gone;
    const fs::directory_iterator first(files_.checkpoints() + "/" + name, gone);
    return gone ? -1 : std::distance(first, fs::directory_iterator());
  };
  const auto limit = Clock::now() + std::chrono::duration<double>(kHangSeconds);
  for (; Clock::now() < limit; pause_shortly()) {
    if (moment == Moment::at_once) return true;
    if (moment == Moment::at_lease && !new_name("LEASE.").empty()) return true;
    if (moment == Moment::at_steps) {
      const LastJob now = files_.last_job();
      if (!now.same_start(before_) && now.reached >= now.from + steps) return true;
    }
    if (moment == Moment::in_save) {
      const std::string save = new_name(".tmp-step-");
      if (!save.empty()) {
        for (int64_t held = 0; held >= 0 && held < files_of_save && job.running();)
          held = files_in(save);
        return true;
      }
    }
    if (!job.running()) {
      ADD_FAILURE() << story_ << ": ended by itself\n" << job.wait().err;
      return false;
    }
  }
  ADD_FAILURE() << story_ << ": nothing happens\n" << job.err();
  return false;
}

// Before the program listens to signals they end it as they end any other, so early on it is
// killed only.
Life::Ending Life::draw_ending(const Start& start, Moment moment) {
  const bool early = moment == Moment::at_once || moment == Moment::at_lease;
  for (;;) {
    const auto ending = static_cast<Ending>(below(random_, early ? 3 : 8));
    if (ending == Ending::kill_mpirun && start.starter != Starter::launcher) continue;
    return ending;
  }
}

// docs/exit_codes.md: 75 after a save that was asked for, 128 + the signal that ended a process,
// and 1 is what mpirun itself says after a signal.
std::set<int> Life::allowed_codes(const Start& start, Ending ending) const {
  constexpr int kSaved = 75;
  const auto ended_by = [](int number) { return 128 + number; };
  if (ending <= Ending::kill_starter) return {ended_by(SIGKILL)};
  std::set<int> codes = {kSaved};
  if (ending == Ending::interrupt) codes.insert(ended_by(SIGINT));
  if (ending == Ending::term_twice) codes.insert(ended_by(SIGTERM));
  if (ending == Ending::hangup && start.starter == Starter::alone) codes.insert(ended_by(SIGHUP));
  if (ending != Ending::user1 && start.starter == Starter::mpirun) codes.insert(1);
  return codes;
}

void Life::end(Job& job, Ending ending) {
  const auto kill_one = [&](pid_t pid) {
    if (pid > 0)
      ::kill(pid, SIGKILL);
    else
      job.signal(SIGKILL);  // it has no such process yet
  };
  switch (ending) {
    case Ending::kill_rank: {
      const std::vector<pid_t> ranks = job.ranks();
      kill_one(ranks.empty() ? -1 : ranks[static_cast<size_t>(below(random_, std::ssize(ranks)))]);
      return;
    }
    case Ending::kill_mpirun: return kill_one(job.mpirun());
    case Ending::kill_starter: return job.signal(SIGKILL);
    case Ending::user1: return job.signal(SIGUSR1);
    case Ending::term: return job.signal(SIGTERM);
    case Ending::term_twice:
      job.signal(SIGTERM);
      pause_shortly();
      return job.signal(SIGTERM);
    case Ending::hangup: return job.signal(SIGHUP);
    case Ending::interrupt: return job.signal(SIGINT);
  }
}

void Life::ordinary_round(bool go_back) {
  Start start = draw_start();
  // A job that was sent back and dies before it has decided to go has not gone back.
  constexpr Moment kMomentsDrawn[] = {Moment::at_steps, Moment::in_save, Moment::at_steps,
                                      Moment::in_save,  Moment::at_once, Moment::at_lease};
  const Moment moment = kMomentsDrawn[below(random_, go_back ? 4 : 6)];
  const int64_t steps = 1 + below(random_, 8);
  const Ending ending = draw_ending(start, moment);
  if (go_back) {
    const std::vector<int64_t> sound = sound_steps();
    newest_ = sound[static_cast<size_t>(below(random_, std::ssize(sound) - 1))];
    start.words.insert(start.words.end(),
                       {"--resume", std::string(kRun) + "/checkpoints/" + step_name(newest_)});
    start.text += " --resume " + std::to_string(newest_);
  }
  constexpr const char* kMoments[] = {"at once", "at its lease", "after steps", "in a save"};
  constexpr const char* kEndings[] = {"a rank killed", "mpirun killed", "killed", "USR1",
                                      "TERM",          "TERM twice",    "HUP",    "INT"};
  tell(start.text + ": " + kEndings[static_cast<int>(ending)] + " " +
       kMoments[static_cast<int>(moment)]);

  Job job(*this, start, token());
  if (!wait_for(job, moment, steps)) return;
  end(job, ending);
  const ProgramResult result = job.wait();
  tell("exit code " + std::to_string(result.exit_code));
  EXPECT_TRUE(allowed_codes(start, ending).contains(result.exit_code)) << story_ << "\n"
                                                                       << result.err;
  look_at_disk(go_back);
  // 75 is said after a complete save only.
  EXPECT_TRUE(result.exit_code != 75 || newest_ == files_.last_job().reached) << story_;
}

// Two jobs start at once, or one after the other: one ends with 9 and names the other, which goes
// on.
void Life::contest() {
  const bool together = below(random_, 2) == 0;
  const Start starts[] = {draw_start(), draw_start()};
  tell(starts[0].text + (together ? " and at once " : " and later ") + starts[1].text);
  const std::string prefix = token();
  Job first(*this, starts[0], prefix + "-first");
  if (!together && !wait_for(first, Moment::at_steps, 1)) return;
  Job second(*this, starts[1], prefix + "-second");
  const auto limit = Clock::now() + std::chrono::duration<double>(kHangSeconds);
  while (first.running() && second.running() && Clock::now() < limit) pause_shortly();
  const bool first_lost = !first.running();
  if (!first_lost && second.running()) {
    ADD_FAILURE() << story_ << ": both go on\n" << first.err() << second.err();
    return;
  }
  Job& winner = first_lost ? second : first;
  Job& loser = first_lost ? first : second;
  EXPECT_TRUE(together || !first_lost) << story_ << ": the holder ended";
  const ProgramResult lost = loser.wait();
  EXPECT_EQ(lost.exit_code, 9) << story_ << "\n" << lost.err;
  bool named = false;
  for (const pid_t rank : winner.ranks())
    named |= lost.err.find("held by process " + std::to_string(rank)) != std::string::npos;
  EXPECT_TRUE(named) << story_ << ": the holder is not named\n" << lost.err;
  const LastJob now = files_.last_job();
  const int64_t more = now.same_start(before_) ? 1 : now.reached - now.from + 2;
  if (!wait_for(winner, Moment::at_steps, more)) return;
  winner.signal(SIGUSR1);
  const ProgramResult won = winner.wait();
  tell(std::string(first_lost ? "the second" : "the first") + " won, exit code " +
       std::to_string(won.exit_code));
  EXPECT_EQ(won.exit_code, 75) << story_ << "\n" << won.err;
  look_at_disk(false);
}

// After all processes have gone: what was committed is sound, what was claimed is there, and the
// job began where it had to.
void Life::look_at_disk(bool went_back) {
  const LastJob now = files_.last_job();
  const bool started = !now.same_start(before_);
  if (started) {
    EXPECT_EQ(now.from, newest_) << story_ << ": did not go on from the newest sound checkpoint";
    expect_metrics_of(now);
    // Damaged steps that were passed over have moved away, so a step of that name is a new one.
    damaged_.clear();
  }
  EXPECT_TRUE(started || !went_back) << story_;
  PosixStorage storage;
  const std::vector<int64_t> sound = sound_steps();
  for (const int64_t step : sound) {
    const std::string complaint = [&]() -> std::string {
      try {
        CheckpointReader::open(storage, files_.step_directory(step)).verify_all();
        return "";
      } catch (const std::exception& error) {
        return error.what();
      }
    }();
    EXPECT_EQ(complaint, "") << story_ << ": committed, but damaged";
  }
  const int64_t newest = sound.empty() ? 0 : sound.back();
  EXPECT_GE(newest, newest_) << story_ << ": a checkpoint was lost";
  newest_ = newest;
  tell("from " + std::to_string(now.from) + " to " + std::to_string(now.reached) + ", saved " +
       std::to_string(newest_));
}

// Each step stands there once and in order, and what is called saved was saved.
void Life::expect_metrics_of(const LastJob& job) {
  int64_t step = job.from, saved = 0;
  for (const nlohmann::json& line : files_.lines_of(job)) {
    if (line["kind"] == "train") {
      EXPECT_EQ(line["step"], ++step) << story_;
    } else if (line["kind"] == "checkpoint") {
      EXPECT_FALSE(line.contains("error")) << story_ << "\n" << line;
      saved = line["step"];
    }
  }
  const std::vector<int64_t> committed = files_.committed();
  EXPECT_GE(committed.empty() ? 0 : committed.back(), saved)
      << story_ << ": told to be saved, but is not there";
}

void Life::finish() {
  Start start = draw_start();
  const std::string end = std::to_string(newest_ + 5);
  start.words.insert(start.words.end(), {"--steps", end});
  before_ = files_.last_job();
  round_ = 0;
  Job last(*this, start, token());
  const ProgramResult done = last.wait();
  ASSERT_EQ(done.exit_code, 0) << done.err;
  look_at_disk(false);
  EXPECT_EQ(std::to_string(newest_), end);
  EXPECT_EQ(bystanders_.harm(), "");
  for (const std::string& name : files_.names())
    EXPECT_FALSE(parse_remains(name)) << name << " was not swept";

  // The undisturbed run has the layout of the last start, and saves at its end alone.
  const std::string calm = "undisturbed";
  for (std::string& word : start.words) {
    if (word == kRun) word = calm;
    if (word.starts_with("checkpoint.every=")) word = "checkpoint.every=0";
  }
  const ProgramResult reference = Job(*this, start, token() + "-undisturbed").wait();
  ASSERT_EQ(reference.exit_code, 0) << reference.err;
  EXPECT_EQ(workshop_.difference(kRun, calm), "");
  EXPECT_EQ(workshop_.difference_of_losses(kRun, calm), "");
  EXPECT_EQ(workshop_.metrics(kRun, "train").size(), workshop_.metrics(calm, "train").size());
  std::printf("%s steps, equal to the undisturbed run\n", end.c_str());
}

}  // namespace tessera::soak
