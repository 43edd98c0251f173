// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace tessera {
namespace {

constexpr double kLeft = 64, kRight = 150, kTop = 34, kBottom = 34;
constexpr double kRow = 30, kBox = 24;                     // from row to row; height of a box
constexpr double kNarrowestUnit = 18, kWidestTime = 4000;  // pixels
constexpr double kDigit = 6.5;                             // width of one, at the font's size

struct Ink {
  Op op;
  const char* name;
  std::array<int, 3> colour;
};
constexpr std::array<Ink, 3> kInks = {{{Op::forward, "F forward", {86, 180, 233}},
                                       {Op::backward_input, "B input gradient", {230, 159, 0}},
                                       {Op::backward_weight, "W weight gradient", {0, 158, 115}}}};

template <typename... Values>
std::string print(const char* format, Values... values) {
  std::string text(static_cast<size_t>(std::snprintf(nullptr, 0, format, values...)), '\0');
  std::snprintf(text.data(), text.size() + 1, format, values...);
  return text;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

std::string words(double x, double y, const char* anchor, const std::string& content) {
  return print("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor) + escaped(content) +
         "</text>\n";
}

// Half way to white for the last chunk.
std::string colour_of(const Ink& ink, int chunk, int num_chunks) {
  const double pale = num_chunks < 2 ? 0 : 0.6 * chunk / (num_chunks - 1);
  const auto mix = [&](int i) {
    const int full = ink.colour[static_cast<size_t>(i)];
    return static_cast<int>(std::lround(full + (255 - full) * pale));
  };
  return print("#%02x%02x%02x", mix(0), mix(1), mix(2));
}

class Picture {
 public:
  Picture(const Plan& plan, const Simulation& simulation, const PictureOptions& options)
      : plan_(plan), simulation_(simulation), options_(options) {
    double shortest = simulation.makespan;
    for (const TimedAction& timed : simulation.actions)
      if (is_compute(timed.action.op) && timed.end > timed.start)
        shortest = std::min(shortest, timed.end - timed.start);
    if (shortest > 0)
      scale_ = std::min(kNarrowestUnit / shortest, kWidestTime / simulation.makespan);
  }

  std::string draw() const {
    const double width = x(simulation_.makespan) + kRight;
    const double height = y(plan_.num_ranks()) + kBottom;
    std::string svg = print(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
        "viewBox=\"0 0 %.0f %.0f\" role=\"img\" font-family=\"sans-serif\" font-size=\"11\">\n",
        width, height, width, height);
    svg += "<title>" + escaped(title()) + "</title>\n";
    svg += print("<rect width=\"%.0f\" height=\"%.0f\" fill=\"#ffffff\"/>\n", width, height);
    svg += words(kLeft, 20, "start", title());
    for (int rank = 0; rank < plan_.num_ranks(); ++rank) svg += margin(rank);
    for (const TimedAction& timed : simulation_.actions)
      if (is_compute(timed.action.op) && timed.end > timed.start) svg += box(timed);
    if (options_.messages) svg += lines();
    return svg + legend() + "</svg>\n";
  }

 private:
  double x(double time) const { return kLeft + time * scale_; }
  static double y(int rank) { return kTop + rank * kRow; }

  std::string title() const {
    const std::string summary = print("bubble %.1f %%", 100 * simulation_.bubble());
    return options_.title.empty() ? summary : options_.title + ": " + summary;
  }

  std::string margin(int rank) const {
    const double line = y(rank) + kBox / 2 + 4;
    const auto at = static_cast<size_t>(rank);
    return words(kLeft - 8, line, "end", "rank " + std::to_string(rank)) +
           print(
               "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" "
               "stroke=\"#cccccc\"/>\n",
               kLeft, y(rank), simulation_.makespan * scale_, kBox) +
           words(x(simulation_.makespan) + 8, line, "start",
                 print("idle %.1f %%, tapes %d", 100 * simulation_.bubble(rank),
                       simulation_.peak_live[at]));
  }

  std::string box(const TimedAction& timed) const {
    const Ink& ink = kInks[static_cast<size_t>(timed.action.op)];
    const double width = (timed.end - timed.start) * scale_;
    const std::string micro = std::to_string(timed.action.micro);
    std::string svg =
        print(
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\" "
            "stroke=\"#333333\" stroke-width=\"0.5\"><title>",
            x(timed.start), y(timed.rank), width, kBox,
            colour_of(ink, timed.action.chunk, plan_.num_chunks(timed.rank)).c_str()) +
        to_string(timed.action) + "</title></rect>\n";
    if (width >= kDigit * static_cast<double>(micro.size()))
      svg +=
          words((x(timed.start) + x(timed.end)) / 2, y(timed.rank) + kBox / 2 + 4, "middle", micro);
    return svg;
  }

  std::string lines() const {
    const std::vector<StagePlace> places = places_of_stages(plan_);
    std::string svg;
    for (const TimedAction& timed : simulation_.actions) {
      if (!is_send(timed.action.op)) continue;
      const int to = message_of(plan_, places, timed.rank, timed.action).to.rank;
      svg += print(
          "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#333333\" "
          "stroke-width=\"0.7\"/>\n",
          x(timed.start), y(timed.rank) + kBox / 2, x(timed.end), y(to) + kBox / 2);
    }
    return svg;
  }

  std::string legend() const {
    const double top = y(plan_.num_ranks()) + 6;
    double left = kLeft;
    std::string svg;
    for (const Ink& ink : kInks) {
      svg += print("<rect x=\"%.1f\" y=\"%.1f\" width=\"14.0\" height=\"14.0\" fill=\"%s\"/>\n",
                   left, top, colour_of(ink, 0, 1).c_str());
      svg += words(left + 19, top + 11, "start", ink.name);
      left += 130;
    }
    const bool several = plan_.num_stages() > plan_.num_ranks();
    return several ? svg + words(left, top + 11, "start", "paler: later chunks") : svg;
  }

  const Plan& plan_;
  const Simulation& simulation_;
  const PictureOptions& options_;
  double scale_ = 1;  // pixels per unit of time
};

}  // namespace

std::string to_svg(const Plan& plan, const Simulation& simulation, const PictureOptions& options) {
  return Picture(plan, simulation, options).draw();
}

}  // namespace tessera
