// The whole run: every image of a folder, predicted and written.
#pragma once

#include "arguments.h"
#include "export_card.h"
#include "predictor.h"

// Predicts the images. One that cannot be read is reported and skipped; its result files are then missing.
// UserError: no image can be read, or what write_results says.
void run(const Arguments &arguments, const ExportCard &card, Predictor &predictor);
