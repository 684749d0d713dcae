"""Web page to draw contours on one radiograph and preview their transfer to other patients."""
