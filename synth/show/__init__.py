"""Pictures and pages of cases and layouts: contact sheets, planes, a viewer that works offline."""
