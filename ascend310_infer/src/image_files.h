// Which images there are, and what their results are called.
#pragma once

#include <filesystem>
#include <vector>

// The images (.png, .jpg, .jpeg, .bmp, .webp in any case; nothing hidden) in a folder and below it, sorted by path.
// UserError: there is none, a folder cannot be read, or two have the same name apart from folder and suffix, as then
// their result files would, too.
std::vector<std::filesystem::path> find_images(const std::filesystem::path &folder);
