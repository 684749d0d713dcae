"""The page where a clinician draws one radiograph and sees at once what the drawing does."""
